"""Who acts where others do not, when; and whom a node asks for the head: both bounded however many take part."""

from collections import Counter

from protocol.duties import MAX_SOURCES
from protocol.messages import Choice
from protocol.timing import back_off, close_time, distance, patience
from protocol.view import CaughtUp, Fetch, Fetched, View
from tests.protocol.peer import HEAD, Peer, only
from tests.protocol.world import PEERS, TOPIC, Run, propose, verdict

SIZE = 40


def test_each_wave_is_twice_as_large_as_the_one_before():
    run = Run(SIZE)
    waves = Counter(patience(run.now, place) // back_off(run.now) for place in range(SIZE))
    assert waves == {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 8}
    assert patience(run.now, run.current.proposer) == 0


def test_a_thousand_act_within_one_window():
    run = Run(3)
    assert (999).bit_length() * back_off(run.now) <= run.now.params.window


def test_members_of_the_round_act_before_the_others_in_the_order():
    run = Run(30, committee_size=21)
    run.put(propose(run.proposal()))
    state, current = run.now, run.current
    ranked = sorted(range(30), key=lambda place: distance(state, place))
    assert [distance(state, place) for place in ranked] == list(range(30))
    assert ranked[0] == current.proposer
    assert set(ranked[:22]) == current.members
    start = state.order.index(current.proposer)
    walk = state.order[start:] + state.order[:start]
    assert ranked == [p for p in walk if p in current.members] + [p for p in walk if p not in current.members]


def test_where_a_round_is_closed_the_proposer_is_first():
    run = Run(5)
    times = sorted((close_time(View(PEERS[p], TOPIC), run.now, run.current, p), p) for p in range(5))
    assert times[0][1] == run.current.proposer
    assert [(time - times[0][0]) // back_off(run.now) for time, _ in times] == [0, 1, 2, 2, 3]


def test_the_head_is_asked_of_who_compared_it_and_of_neighbours():
    run = Run(SIZE, committee_size=21)
    proposal = run.proposal()
    run.put(propose(proposal))
    voters = sorted(run.current.members - {run.current.proposer})
    run.put(verdict(proposal, [run.vote(proposal, place, Choice.APPROVE) for place in voters], "accepted"))
    asked = {}
    for place in sorted(set(range(SIZE)) - set(voters) - {proposal.body.proposer}):
        peer = Peer(run, place, head=False)
        peer.view = View(PEERS[place], TOPIC, state=run.now)
        peer.feed(Fetched(HEAD))
        sources = only(peer.feed(CaughtUp()), Fetch).sources
        assert PEERS[place] not in sources
        assert len(sources) <= MAX_SOURCES
        assert sources[0] == PEERS[proposal.body.proposer]
        assert set(sources[1:22]) == {PEERS[voter] for voter in voters}
        asked[place] = sources[22:]
    assert len(set(asked.values())) == len(asked), "each has other neighbours"
