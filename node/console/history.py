"""What has happened in a run, as far as it is kept: rounds that are over, heads, and who did what.

It is rebuilt from the topic at every start, since a node reads that from its beginning; it is bounded.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from learners.learner import Comparison, Training
from node.console.schema import ClosedRoundFacts, ComparisonFacts, HeadFacts, TrainingFacts, VoteFacts
from protocol.ids import AccountId, Nanoseconds, Round
from protocol.messages import Choice, Vote
from protocol.state import ClosedRound, RunState

MAX_ROUNDS = 500
"""Rounds that are kept, the last ones."""
MAX_HEADS = 50
"""Heads that are kept, the last ones."""
MILLISECOND = 1_000_000


def milliseconds(time: Nanoseconds) -> int:
    """A time as the operator's view says it."""
    return time // MILLISECOND


def vote_facts(vote: Vote, late: bool) -> VoteFacts:
    """A vote as the operator's view says it."""
    body = vote.body
    return VoteFacts(place=body.voter, choice=body.choice.value, gain=int(body.gain), late=late)


def mean_gain(votes: tuple[Vote, ...]) -> int | None:
    """The mean gain of those who could tell, ppm; None where nobody could."""
    gains = [vote.body.gain for vote in votes if vote.body.choice is not Choice.UNAVAILABLE]
    return round(sum(gains) / len(gains)) if gains else None


@dataclass(slots=True)
class Deeds:
    """What one member has done since the run began."""

    proposals: int = 0
    accepted: int = 0
    votes: int = 0
    chances: int = 0
    """Rounds decided by votes in which it might vote."""
    last_round: int | None = None
    last_vote: VoteFacts | None = None


@dataclass(slots=True)
class _Entry:
    facts: ClosedRoundFacts
    version: int
    """The history's when it last changed."""


@dataclass(slots=True)
class History:
    """Takes in one state after the other, none left out. peer: whose earnings are shown."""

    peer: str
    version: int = 0
    """Grows whenever a round that is over is added or changed."""
    heads: deque[HeadFacts] = field(default_factory=lambda: deque(maxlen=MAX_HEADS))
    _rounds: dict[int, _Entry] = field(default_factory=dict)
    _deeds: dict[int, Deeds] = field(default_factory=dict)
    _comparisons: dict[int, ComparisonFacts] = field(default_factory=dict)
    _trainings: dict[int, TrainingFacts] = field(default_factory=dict)
    _opened: dict[int, int] = field(default_factory=dict)

    # ---- what happens ----

    def on_state(self, before: RunState | None, state: RunState, time: Nanoseconds) -> None:
        """Take in what one record, of a consensus time, has changed."""
        if before is None:
            self.heads.append(
                HeadFacts(round=0, proposer=None, digest=state.head, size=state.head_size, gain=None)
            )
        if state.open is not None and (before is None or before.open is not state.open):
            self._opened.setdefault(state.open.number, milliseconds(time))
        last, known = state.last, None if before is None else before.last
        if last is None or last is known:
            return
        if known is None or known.number != last.number:
            self._on_closed(before, state, last)
        else:
            self._on_late(before, state, last, known)

    def on_trained(self, number: Round, training: Training, seconds: float) -> None:
        """Our learner has made a candidate."""
        loss = training.loss if math.isfinite(training.loss) else None
        self._trainings[number] = TrainingFacts(
            labels=training.labels, labels_total=training.labels_total, loss=loss, seconds=seconds
        )
        self._touch(number)

    def on_scored(self, number: Round, comparison: Comparison, seconds: float) -> None:
        """Our learner has compared a candidate with the head."""
        self._comparisons[number] = ComparisonFacts(
            head=comparison.head,
            candidate=comparison.candidate,
            gain=comparison.gain,
            error=comparison.error,
            samples=comparison.samples,
            seconds=seconds,
        )
        self._touch(number)

    # ---- what is shown ----

    def deeds(self, place: int) -> Deeds:
        """What the member at a place has done."""
        return self._deeds.get(place) or Deeds()

    def opened(self, number: int) -> int | None:
        """When a round opened, milliseconds; None when that is not known."""
        return self._opened.get(number)

    @property
    def first(self) -> int | None:
        """The oldest round that is kept."""
        return next(iter(self._rounds), None)

    def page(self, start: int | None, limit: int) -> tuple[list[ClosedRoundFacts], int | None]:
        """At most `limit` rounds from a number on, or the last ones; and where the next page starts."""
        numbers = list(self._rounds)
        if start is None:
            chosen, rest = numbers[-limit:], []
        else:
            chosen = [number for number in numbers if number >= start]
            chosen, rest = chosen[:limit], chosen[limit:]
        return [self._rounds[number].facts for number in chosen], rest[0] if rest else None

    def since(self, version: int) -> Iterator[ClosedRoundFacts]:
        """The rounds that were added or changed after a version, by number."""
        return (entry.facts for entry in self._rounds.values() if entry.version > version)

    @property
    def last_training(self) -> TrainingFacts | None:
        """Our last one since the start."""
        return next(reversed(self._trainings.values()), None)

    @property
    def last_comparison(self) -> ComparisonFacts | None:
        """Our last one since the start."""
        return next(reversed(self._comparisons.values()), None)

    # ---- inside ----

    def _on_closed(self, before: RunState | None, state: RunState, last: ClosedRound) -> None:
        body = None if last.proposal is None else last.proposal.body
        self._keep(
            ClosedRoundFacts(
                number=last.number,
                ending=last.ending,
                proposer=last.proposer,
                members=len(last.members),
                candidate=None if body is None else body.candidate,
                head=state.head,
                gain=mean_gain(last.votes[: last.counted]),
                votes=_votes(last),
                opened_ms=self._opened.pop(last.number, None),
                closed_ms=milliseconds(last.time),
                sequence=last.sequence,
                earned=self._gained(before, state),
                comparison=self._comparisons.get(last.number),
                training=self._trainings.get(last.number),
            )
        )
        if body is not None and last.ending == "accepted":
            self.heads.append(
                HeadFacts(
                    round=last.number,
                    proposer=last.proposer,
                    digest=body.candidate,
                    size=body.size,
                    gain=mean_gain(last.votes[: last.counted]),
                )
            )
        if body is not None or (last.proposer in last.present and last.ending != "passed"):
            self._of(last.proposer).proposals += 1
            self._of(last.proposer).accepted += last.ending == "accepted"
            for place in last.members - {last.proposer}:
                self._of(place).chances += 1
        for place in last.present:
            self._of(place).last_round = last.number
        for vote in last.votes:
            self._note_vote(vote, late=False)

    def _on_late(
        self, before: RunState | None, state: RunState, last: ClosedRound, known: ClosedRound
    ) -> None:
        for vote in last.votes[len(known.votes) :]:
            self._of(vote.body.voter).last_round = last.number
            self._note_vote(vote, late=True)
        entry = self._rounds.get(last.number)
        if entry is not None:
            earned = entry.facts.earned + self._gained(before, state)
            news = {"votes": _votes(last), "earned": earned}
            self._keep(entry.facts.model_copy(update=news))

    def _note_vote(self, vote: Vote, late: bool) -> None:
        deeds = self._of(vote.body.voter)
        deeds.votes += 1
        deeds.last_vote = vote_facts(vote, late)

    def _touch(self, number: int) -> None:
        for kept in (self._comparisons, self._trainings):
            while len(kept) > MAX_ROUNDS:
                del kept[next(iter(kept))]
        entry = self._rounds.get(number)
        if entry is not None:
            own = {
                "comparison": self._comparisons.get(number),
                "training": self._trainings.get(number),
            }
            self._keep(entry.facts.model_copy(update=own))

    def _keep(self, facts: ClosedRoundFacts) -> None:
        self.version += 1
        self._rounds[facts.number] = _Entry(facts, self.version)
        while len(self._rounds) > MAX_ROUNDS:
            del self._rounds[next(iter(self._rounds))]

    def _of(self, place: int) -> Deeds:
        return self._deeds.setdefault(place, Deeds())

    def _gained(self, before: RunState | None, state: RunState) -> int:
        place = state.place_of(self.peer)
        if before is None or place is None:
            return 0
        account = AccountId(state.roster[place].account)
        return state.earned_by(account) - before.earned_by(account)


def _votes(last: ClosedRound) -> tuple[VoteFacts, ...]:
    told = [vote_facts(vote, late=number >= last.counted) for number, vote in enumerate(last.votes)]
    return tuple(sorted(told, key=lambda vote: vote.place))
