"""Updates of the others: who makes them, what becomes of them where it is our turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.contributions import WHOLE, contributors_of
from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Round
from protocol.messages import MAX_CONTRIBUTORS, Choice
from protocol.params import LearnerRef, Params
from protocol.timing import alarm, gather_time
from protocol.view import (
    Fetch,
    Fetched,
    FetchingFailed,
    Gone,
    Merge,
    Merged,
    MergingFailed,
    PeerUp,
    Scored,
    Send,
    Sign,
    Tick,
    Train,
    Trained,
    TrainingFailed,
)
from tests.protocol.peer import HEAD, Peer, only
from tests.protocol.world import PEERS, Run, account, blob, propose, verdict

WINDOW = 20


@pytest.fixture
def run():
    return Run(4, contribution_window=WINDOW)


@pytest.fixture
def contributor(run):
    return Peer(run, run.voters[0])


@pytest.fixture
def proposer(run):
    return Peer(run, run.current.proposer)


def kinds(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def made(run, name, size=10):
    return Trained(run.current.number, run.now.head, blob(name), size)


def gathered(run, proposer, *places):
    """The proposer, once it has trained and has the updates of some."""
    proposer.feed(made(run, "own"))
    effects = ()
    for place in places:
        update = run.update(place)
        proposer.hear(update)
        effects = proposer.feed(Fetched(update.body.update))
    return effects


def merged(run, *shares, size=10):
    return Merged(run.current.number, run.now.head, blob("merged"), size, None, shares)


# ---- the contributor ----


def test_a_member_trains_at_the_opening_and_tells_the_proposer_alone(run, contributor):
    assert kinds(contributor.effects, Train) == [Train(Round(1), HEAD)]
    body = only(contributor.feed(made(run, "mine")), Sign).body
    assert (body.update, body.base, body.contributor) == (blob("mine"), HEAD, contributor.place)
    sent = only(contributor.sign(body), Send)
    assert sent.message.body == body
    assert sent.to == (PEERS[run.current.proposer],)
    assert contributor.feed(Tick(), at=contributor.now + SECOND) == ()


def test_nobody_trains_for_others_where_proposers_work_alone():
    run = Run(4)
    assert not kinds(Peer(run, run.voters[0]).effects, Train)


def test_an_update_is_repeated_to_the_proposer_and_to_nobody_else(run, contributor):
    body = only(contributor.feed(made(run, "mine")), Sign).body
    update = only(contributor.sign(body), Send).message
    first = PEERS[run.current.proposer]
    assert contributor.feed(PeerUp(first)) == (Send(update, (first,)),)
    assert contributor.feed(PeerUp(PEERS[run.voters[1]])) == ()


def test_after_a_restart_the_journal_s_update_is_said_again(run, contributor):
    earlier = run.update(contributor.place)
    contributor.feed(made(run, "another"))
    assert only(contributor.sign(earlier.body), Send).message == earlier


def test_what_comes_after_the_window_or_the_proposal_is_not_given(run, contributor):
    assert contributor.feed(made(run, "mine"), at=gather_time(run.now, run.current)) == ()
    other = Peer(run, run.voters[1])
    other.hear(run.proposal())
    assert not kinds(other.feed(made(run, "mine")), Sign)


def test_a_failed_training_takes_nobody_s_turn(run, contributor):
    assert contributor.feed(TrainingFailed(Round(1))) == ()
    assert not kinds(contributor.feed(Tick(), at=contributor.now + SECOND), Sign)


def test_an_update_signed_too_late_is_not_sent(run, contributor):
    body = only(contributor.feed(made(run, "mine")), Sign).body
    run.accept()
    contributor.sync()
    with pytest.raises(Ignore, match="too late"):
        contributor.sign(body)


@pytest.mark.parametrize("choice", [Choice.APPROVE, Choice.REJECT])
def test_who_has_voted_trains_ahead_and_gives_it_when_the_round_opens(run, choice):
    place = next(each for each in run.now.order[2:])  # neither this turn nor the next is its own
    peer = Peer(run, place)
    proposal = run.proposal()
    candidate = proposal.body.candidate
    peer.hear(proposal)
    peer.feed(Fetched(candidate))
    body = only(peer.feed(Scored(Round(1), candidate, choice, 0)), Sign).body
    bet = HEAD if choice is Choice.REJECT else candidate
    assert kinds(peer.sign(body), Train) == [Train(Round(2), bet)]
    assert peer.feed(Trained(Round(2), bet, blob("ahead"), 10)) == ()
    outcome = "rejected" if choice is Choice.REJECT else "accepted"
    run.put(verdict(proposal, run.votes(proposal, *[choice] * 3), outcome))
    effects = peer.sync()
    assert not kinds(effects, Train)
    assert only(effects, Sign).body.update == blob("ahead")


def test_the_proposer_trains_ahead_for_the_next_one(run, proposer):
    body = only(
        gathered(run, proposer) or proposer.feed(Tick(), at=gather_time(run.now, run.current)), Sign
    ).body
    assert kinds(proposer.sign(body), Train) == [Train(Round(2), body.candidate)]


# ---- the proposer ----


def test_updates_are_fetched_from_their_contributors_and_merged_once_all_are_there(run, proposer):
    assert only(proposer.effects, Train) == Train(Round(1), HEAD)
    for place in run.voters:
        update = run.update(place)
        fetch = only(proposer.hear(update), Fetch)
        assert (fetch.digest, fetch.sources) == (update.body.update, (PEERS[place],))
        assert not kinds(proposer.feed(Fetched(fetch.digest)), Merge)
    merge = only(proposer.feed(made(run, "own")), Merge)
    digests = tuple((place, run.update(place).body.update) for place in sorted(run.voters))
    assert merge == Merge(Round(1), HEAD, blob("own"), digests)
    body = only(proposer.feed(merged(run, 400_000, 350_000, 0, 250_000)), Sign).body
    first, _, third = sorted(run.voters)
    shares = [(each.account, each.share) for each in body.contributors]
    assert shares == [
        (account(proposer.place), 400_000),
        (account(first), 350_000),
        (account(third), 250_000),
    ]
    assert body.candidate == blob("merged")
    assert not {digest for _, digest in digests} & proposer.view.blobs, "nobody is to have them from us"
    (sent,) = kinds(proposer.sign(body), Send)
    assert run.put(verdict(sent.message, run.votes(sent.message, *[Choice.APPROVE] * 3), "accepted"))


def test_the_window_s_end_is_waited_for_where_some_are_silent(run, proposer):
    effects = gathered(run, proposer, run.voters[0])
    assert not kinds(effects, Merge)
    due = alarm(proposer.view, proposer.now)
    assert due == gather_time(run.now, run.current) == run.current.deadline - 40 * SECOND
    assert [place for place, _ in only(proposer.feed(Tick(), at=due), Merge).updates] == [run.voters[0]]
    assert proposer.view.silent == set(run.voters[1:])


def test_a_head_that_has_rotted_is_waited_for_or_done_without(run, proposer):
    gathered(run, proposer, *run.voters[1:])
    proposer.feed(Gone(run.now.head))
    last = run.update(run.voters[0])
    proposer.hear(last)
    effects = proposer.feed(Fetched(last.body.update))
    assert not kinds(effects, Merge)
    assert not kinds(effects, Sign)
    body = only(proposer.feed(Tick(), at=gather_time(run.now, run.current)), Sign).body
    assert (body.candidate, [each.share for each in body.contributors]) == (blob("own"), [WHOLE])


def test_our_own_is_proposed_where_no_update_comes(run, proposer):
    proposer.feed(made(run, "own"))
    body = only(proposer.feed(Tick(), at=gather_time(run.now, run.current)), Sign).body
    assert (body.candidate, [each.share for each in body.contributors]) == (blob("own"), [WHOLE])


def test_an_update_that_cannot_be_had_is_left_out_and_not_waited_for(run, proposer):
    gathered(run, proposer, *run.voters[1:])
    withheld = run.update(run.voters[0])
    proposer.hear(withheld)
    merge = only(proposer.feed(FetchingFailed(withheld.body.update)), Merge)
    assert [place for place, _ in merge.updates] == sorted(run.voters[1:])
    assert proposer.view.silent == {run.voters[0]}
    assert proposer.view.retry_at == 0, "what else is to be fetched is not held up"


def test_a_head_that_cannot_be_had_is_not_asked_for_again_at_once_where_somebody_calls_it_an_update(run):
    proposer = Peer(run, run.current.proposer, head=False)
    assert only(proposer.effects, Fetch).digest == HEAD
    proposer.hear(run.update(run.voters[0], update=HEAD))
    assert not kinds(proposer.feed(FetchingFailed(HEAD)), Fetch)
    assert proposer.view.retry_at > proposer.now


def test_a_proposer_that_has_proposed_in_an_earlier_life_gathers_no_more(run, proposer):
    earlier = run.proposal()
    run.put(propose(earlier))
    proposer.sync()
    assert not kinds(proposer.hear(run.update(run.voters[0])), Fetch)
    assert not kinds(proposer.feed(made(run, "own")), Sign)


def next_turn(run, proposer):
    """Rounds of others, until it is the proposer's turn again."""
    while True:
        run.accept()
        if run.current.proposer == proposer.place:
            break
    proposer.sync()
    proposer.feed(Fetched(run.now.head))


def test_who_was_silent_delays_one_turn_and_is_waited_for_again_once_it_speaks(run, proposer):
    quiet = run.voters[0]
    gathered(run, proposer, *run.voters[1:])
    only(proposer.feed(Tick(), at=gather_time(run.now, run.current)), Merge)
    proposer.sign(only(proposer.feed(MergingFailed(Round(1))), Sign).body)
    assert proposer.view.silent == {quiet}
    next_turn(run, proposer)
    assert kinds(gathered(run, proposer, *(p for p in run.voters if p != quiet)), Merge)
    assert proposer.view.silent == {quiet}
    proposer.hear(run.update(quiet))
    assert proposer.view.silent == frozenset(), "too late for this round, but alive"


def test_as_many_as_a_proposal_names_are_taken():
    run = Run(20, contribution_window=WINDOW)
    proposer = Peer(run, run.current.proposer)
    effects = gathered(run, proposer, *run.voters[: MAX_CONTRIBUTORS - 1])
    assert len(only(effects, Merge).updates) == MAX_CONTRIBUTORS - 1
    assert proposer.view.silent == frozenset(), "there was no room for the others"
    shares = (WHOLE - 15 * 60_000, *[60_000] * 15)
    assert len(only(proposer.feed(merged(run, *shares)), Sign).body.contributors) == MAX_CONTRIBUTORS


def test_no_more_are_fetched_than_one_candidate_is_made_of():
    run = Run(20, contribution_window=WINDOW)
    proposer = Peer(run, run.current.proposer)
    for place in run.voters[: MAX_CONTRIBUTORS - 1]:
        proposer.hear(run.update(place))
    with pytest.raises(Ignore, match="as many"):
        proposer.hear(run.update(run.voters[-1]))
    proposer.feed(FetchingFailed(run.update(run.voters[0]).body.update))
    only(proposer.hear(run.update(run.voters[-1])), Fetch)


@pytest.mark.parametrize("how", ["failed", "too large"])
def test_what_cannot_be_merged_is_proposed_alone(run, proposer, how):
    gathered(run, proposer, *run.voters)
    size = run.now.params.max_blob_bytes + 1
    failed = MergingFailed(Round(1)) if how == "failed" else merged(run, *[250_000] * 4, size=size)
    body = only(proposer.feed(failed), Sign).body
    assert (body.candidate, len(body.contributors)) == (blob("own"), 1)
    with pytest.raises(Ignore, match="wants none"):
        proposer.feed(merged(run, *[250_000] * 4))


def test_a_merge_of_a_round_that_is_over_is_ignored(run, proposer):
    gathered(run, proposer, *run.voters)
    run.expire()
    proposer.sync()
    for event in (Merged(Round(1), HEAD, blob("merged"), 10, None, (WHOLE,)), MergingFailed(Round(1))):
        with pytest.raises(Ignore):
            proposer.feed(event)


def test_a_proposer_whose_training_fails_passes_in_spite_of_updates(run, proposer):
    for place in run.voters:
        proposer.hear(run.update(place))
        proposer.feed(Fetched(run.update(place).body.update))
    proposer.feed(TrainingFailed(Round(1)))
    assert only(proposer.feed(TrainingFailed(Round(1))), Sign).body.round == 1
    assert not kinds(proposer.feed(Tick(), at=gather_time(run.now, run.current)), Merge)


# ---- lies, and what is early or late ----


def test_lies_are_invalid(run, proposer, contributor):
    first, second, _ = run.voters
    for lie, why in (
        (run.update(first, by=second), "does not verify"),
        (run.update(first, base=blob("old head")), "not based on the head"),
        (run.update(first, run=blob("another run")), "another run"),
        (run.update(first, size=run.now.params.max_blob_bytes + 1, pieces=HEAD), "at most"),
        (run.update(proposer.place), "does not contribute"),
        (run.update(30), "does not contribute"),
    ):
        with pytest.raises(Invalid, match=why):
            proposer.hear(lie)
    with pytest.raises(Invalid, match="another member"):
        contributor.hear(run.update(second))
    proposer.hear(run.update(first))
    with pytest.raises(Invalid, match="two different"):
        proposer.hear(run.update(first, update=blob("second")))
    with pytest.raises(Ignore, match="we know"):
        proposer.hear(run.update(first))
    alone = Run(4)
    with pytest.raises(Invalid, match="work alone"):
        Peer(alone, alone.current.proposer).hear(alone.update(alone.voters[0]))


def test_an_update_for_the_next_round_waits_for_it(run):
    following = Peer(run, run.now.order[1])
    run.accept()
    place = next(each for each in run.voters)
    update = run.update(place)
    following.hear(update)
    assert following.view.work.gathering.updates == ()
    following.sync()
    assert following.view.work.gathering.updates == (update,)
    run.accept()
    following.sync()
    with pytest.raises(Ignore, match="is open"):
        following.hear(update)


# ---- params and shares ----


def test_half_of_the_round_is_left_for_the_vote():
    learner = LearnerRef(name="stub", spec=HEAD)
    Params(learner=learner, initial=HEAD, round_window=60, contribution_window=30)
    with pytest.raises(ValueError, match="at most half"):
        Params(learner=learner, initial=HEAD, round_window=60, contribution_window=31)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, WHOLE)), min_size=1, max_size=15))
def test_accounts_are_named_once_and_their_shares_added_up(found):
    total = sum(share for _, share in found)
    parts = [(account(place), share * WHOLE // max(1, total)) for place, share in found]
    parts[0] = (parts[0][0], parts[0][1] + WHOLE - sum(share for _, share in parts))
    named = contributors_of(parts)
    assert sum(each.share for each in named) == WHOLE
    assert len({each.account for each in named}) == len(named)
    for each in named:
        assert each.share == sum(share for name, share in parts if name == each.account)
    assert {each.account for each in named} == {name for name, share in parts if share}
