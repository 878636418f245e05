"""fold: what holds for every sequence of records (SPEC.md, Properties)."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.fields import canonical
from protocol.fold import apply, read
from protocol.ids import SECOND, Ppm
from protocol.messages import Choice
from protocol.parse import parse_record
from protocol.rules import close_tally, count_of, is_outvoted, tally, trimmed_gain
from tests.protocol.world import POOL, TOPIC, Run, fold, propose, total, verdict, vote_record

CHOICES = st.sampled_from(Choice)
ENDINGS = ("accepted", "rejected", "neutral")
LARGE = dict.fromkeys(Choice, Ppm(50_000))
"""What every voter says that it found: then each accepted proposal with a vote earns the whole reward."""


@dataclass
class Ledger:
    """What an outsider notes down after each record, to hold the fold to."""

    endings: dict = field(default_factory=dict)
    votes: dict = field(default_factory=dict)
    unsure: dict = field(default_factory=dict)
    rewarded: set = field(default_factory=set)

    def look(self, state):
        self.note_contradictions(state)
        last = state.last
        if last is not None:
            assert self.endings.setdefault(last.number, last.ending) == last.ending, "two outcomes"
            assert len(last.votes) >= self.votes.get(last.number, 0)
            assert len({vote.body.voter for vote in last.votes}) == len(last.votes)
            self.votes[last.number] = len(last.votes)
            if last.ending == "accepted" and self.has_gain(last):
                self.rewarded.add(last.number)
        totals = state.totals
        by_ending = {name: list(self.endings.values()).count(name) for name in set(self.endings.values())}
        assert {k: v for k in totals.__slots__ if (v := getattr(totals, k))} == by_ending
        assert sorted(self.endings) == list(range(1, len(self.endings) + 1)), "a round is missing"
        paid = sum(self.votes[n] for n, e in self.endings.items() if e in ("accepted", "rejected"))
        params = state.params
        assert total(state) == len(self.rewarded) * params.reward_proposal + paid * params.reward_vote
        if state.open is not None:
            assert state.open.members
            assert state.open.proposer in state.open.members
            assert state.open.number == len(self.endings) + 1

    def note_contradictions(self, state):
        """Keep each vote on the topic by round, to know whose were contradicted."""
        current = state.open
        if current is not None:
            seen = self.unsure.setdefault(current.number, {})
            for vote in current.votes:
                seen.setdefault(vote.body.voter, vote.body)
            seen.update(dict.fromkeys(current.doubled))

    def has_gain(self, last):
        """Whether the gain that counts is one: all say that it is large, but an abstention tells of none."""
        seen = self.unsure.get(last.number, {})
        sure = [
            vote.body
            for vote in last.votes[: last.counted]
            if seen.get(vote.body.voter, vote.body) == vote.body
        ]
        choices = [body.choice for body in sure]
        count, rejects = count_of(choices, len(last.members)), choices.count(Choice.REJECT)
        gains = []
        for choice in choices:
            against = rejects if choice is Choice.APPROVE else count.approvals
            if choice is Choice.ABSTAIN:
                gains.append(0)
            elif choice is not Choice.UNAVAILABLE and not is_outvoted(
                against, count.approvals + count.rejections - 1, len(last.members)
            ):
                gains.append(1)
        return trimmed_gain([Ppm(gain * 50_000) for gain in gains], len(last.members)) > 0


def pool(run, choices):
    """Valid records on the open round that contradict each other: every order of them is possible."""
    current = run.current
    one, two = run.proposal("one"), run.proposal("two")
    votes = run.votes(one, *choices)
    records = [propose(one), propose(two), run.pass_turn(), run.close(), run.close()]
    records += [vote_record(one, vote) for vote in votes]
    records += [vote_record(two, run.vote(two, voter)) for voter in run.voters[:2]]
    records += [vote_record(one, run.vote(one, voter, Choice.REJECT)) for voter in run.voters[1:2]]
    records += [run.present(place) for place in range(len(run.now.roster))]
    for some in (votes, votes[:-1], votes[1:], votes[:1]):
        outcome = tally(count_of([v.body.choice for v in some], len(current.members)), run.now.params)
        if outcome is not None:
            records.append(verdict(one, some, outcome))
    return records


def feed(run, record, at=None):
    try:
        run.put(record, at=at)
    except ProtocolError:
        return False
    return True


@given(
    st.integers(1, 5),
    st.lists(st.lists(CHOICES, min_size=4, max_size=4), min_size=1, max_size=4),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_no_interleaving_gives_two_outcomes_and_all_folds_are_equal(size, rounds, inactive_after, random):
    run = Run(
        size,
        pool=POOL,
        reward_proposal=101,
        reward_vote=7,
        inactive_after=inactive_after,
        min_approvals=int(size > 3),
    )
    run.gains = LARGE
    ledger, stale = Ledger(), []
    for choices in rounds:
        records = pool(run, choices) + random.sample(stale, min(4, len(stale)))
        random.shuffle(records)
        stale += records
        opened, deadline = run.time, run.current.deadline
        times = sorted(random.randint(opened, deadline + 20 * SECOND) for _ in records)
        for time, record in zip(times, records, strict=True):
            feed(run, record, at=time)
            ledger.look(run.now)
        if run.current.deadline == deadline:
            run.expire()
            ledger.look(run.now)
    messages = run.topic.messages
    assert fold(messages, run.ledger) == run.now
    state, effective = None, []
    for raw, stamp in messages:
        try:
            state = read(state, TOPIC, raw, stamp, run.ledger.found(state, raw, stamp))
            effective.append((raw, stamp))
        except ProtocolError:
            pass
    assert fold(effective, run.ledger) == run.now, "what is ignored or invalid leaves no trace"


@given(
    st.integers(1, 5),
    st.lists(st.tuples(CHOICES, st.booleans()), min_size=4, max_size=4),
    st.permutations(range(4)),
)
@settings(max_examples=60, deadline=None)
def test_the_order_and_omission_of_votes_on_the_topic_never_turns_an_outcome(size, votes, order):
    run = Run(size)
    proposal = run.proposal()
    run.put(propose(proposal))
    cast = [
        run.vote(proposal, voter, choice)
        for voter, (choice, sent) in zip(run.voters, votes, strict=False)
        if sent
    ]
    count = count_of([vote.body.choice for vote in cast], size)
    decided, expected = tally(count, run.now.params), close_tally(count, run.now.params)
    for index in order:
        if index < len(cast):
            run.put(vote_record(proposal, cast[index]))
    assert run.expire().last.ending == (expected or "closed")
    assert decided in (None, expected)


OPERATIONS = st.sampled_from(
    ["accept", "verdict", "vote", "propose", "close", "pass", "present", "late", "replay", "mutate", "random"]
)


def draw_record(run, operation, data):
    """Raw bytes for the topic: valid at times, wrong in some way at others."""
    place = st.integers(0, len(run.now.roster))
    earlier = [raw for raw, _ in run.topic.messages]
    if operation == "random":
        return data.draw(st.binary(max_size=60))
    if operation in ("replay", "mutate") or run.now.open is None:
        raw = bytearray(data.draw(st.sampled_from(earlier)))
        if operation == "mutate":
            at = data.draw(st.integers(0, len(raw) - 1)) if raw else 0
            raw[at : at + 1] = data.draw(st.binary(max_size=2))
        return bytes(raw)
    if operation == "late":
        late = run.now.last
        if late is None or late.proposal is None:
            return canonical(run.close())
        return canonical(
            vote_record(late.proposal, run.vote(late.proposal, data.draw(place), data.draw(CHOICES)))
        )
    simple = {"close": run.close, "pass": run.pass_turn}
    if operation in simple:
        return canonical(simple[operation]())
    if operation == "present":
        return canonical(run.present(data.draw(place)))
    proposal = run.proposal(data.draw(st.sampled_from(["one", "two", "three"])))
    if operation == "propose":
        return canonical(propose(proposal))
    if operation == "vote":
        return canonical(vote_record(proposal, run.vote(proposal, data.draw(place), data.draw(CHOICES))))
    if operation == "accept":
        return canonical(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 4), "accepted"))
    votes = [
        run.vote(proposal, voter, data.draw(CHOICES)) for voter in data.draw(st.lists(place, max_size=4))
    ]
    return canonical(verdict(proposal, votes, data.draw(st.sampled_from(ENDINGS))))


@given(st.integers(1, 4), st.integers(0, 6), st.lists(OPERATIONS, min_size=4, max_size=40), st.data())
@settings(max_examples=400, deadline=None)
def test_any_sequence_gives_a_state_or_ignore_or_invalid(size, max_rounds, operations, data):
    run = Run(size, pool=POOL, reward_proposal=101, reward_vote=7, inactive_after=1, max_rounds=max_rounds)
    run.gains = LARGE
    ledger = Ledger()
    for operation in operations:
        raw = draw_record(run, operation, data)
        before = run.now
        late = run.now.open is not None and data.draw(st.integers(0, 3)) == 0
        effective = feed(run, raw, at=run.current.deadline + SECOND if late else None)
        assert effective != (run.now is before)
        ledger.look(run.now)
        if effective:
            hash(run.now)
            stamp = run.topic.messages[-1][1]
            found = run.ledger.found(before, raw, stamp)
            assert apply(before, parse_record(raw), stamp, found) == run.now
    assert fold(run.topic.messages, run.ledger) == run.now


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=50, deadline=None)
def test_before_the_genesis_too(raw, claims):
    stamp = Run(1).topic.messages[0][1]
    if claims:
        raw = b'{"op":"genesis","p":"roundabout","v":1,"x":"%s"}' % raw.hex().encode()
    try:
        read(None, TOPIC, raw, stamp)
    except (Ignore, Invalid):
        return
    raise AssertionError("that was no genesis")
