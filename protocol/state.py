"""What the fold knows: the state of a run between two records (SPEC.md, RunState)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from protocol.fields import canonical_json
from protocol.ids import AccountId, Digest, Nanoseconds, PeerId, Round, Tinybar, TopicId, digest_of
from protocol.messages import Opening, Proposal, Vote
from protocol.money import Money, money_form
from protocol.params import LearnerRef, Params
from protocol.records import Member

Ending = Literal["accepted", "rejected", "neutral", "closed", "passed"]
"""How a round can end: by its votes, by the deadline without an outcome, or because its proposer passed."""


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The round in progress; all but what was seen on the topic is frozen when it opens."""

    number: Round
    opening: Opening
    members: frozenset[int]
    """Places that may vote: those who are not inactive, or the committee, once it is drawn, and the proposer."""
    proposer: int
    deadline: Nanoseconds
    proposals: tuple[Proposal, ...] = ()
    """Different proposals of this round on the topic: two prove equivocation, more are not kept."""
    votes: tuple[Vote, ...] = ()
    """The first vote of each voter seen on the topic."""
    seconds: tuple[Vote, ...] = ()
    """A second, different vote of each voter that cast two."""

    @property
    def doubled(self) -> frozenset[int]:
        """Voters seen with two different votes: they count as abstaining."""
        return frozenset(vote.body.voter for vote in self.seconds)


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """The round before: late votes are still credited, until the next one closes."""

    number: Round
    ending: Ending
    members: frozenset[int]
    proposer: int
    proposal: Proposal | None
    votes: tuple[Vote, ...]
    """Those that were counted, and late ones."""
    counted: int
    """How many of them were counted; the others came late."""
    present: frozenset[int]
    """Places of which a signed vote, proposal or pass of that round is on the topic."""
    sequence: int
    """Where the record that closed it stands."""
    time: Nanoseconds


@dataclass(frozen=True, slots=True)
class Totals:
    """Rounds by how they ended."""

    accepted: int = 0
    rejected: int = 0
    neutral: int = 0
    closed: int = 0
    passed: int = 0


Amendment = Params | LearnerRef
"""What members can decide to change."""


@dataclass(frozen=True, slots=True)
class Seats:
    """Who belongs to the run, and what was decided about that and about its rules (SPEC.md, motions)."""

    terms: tuple[int, ...]
    """For each place, how often its member has joined."""
    vacant: frozenset[int] = frozenset()
    """Places of members who have left, or count only from the next epoch."""
    joining: frozenset[int] = frozenset()
    """Vacant places that are taken when the next epoch starts."""
    leaving: frozenset[int] = frozenset()
    """Places that are left when the next epoch starts."""
    expelled: frozenset[int] = frozenset()
    """Places of members with a proven fault: for ever."""
    amendments: int = 0
    """How many were decided."""
    pending: tuple[Amendment, ...] = ()
    """Those that act when the next epoch starts."""
    ending: bool = False
    """The run ends when the open round does."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a member says it listens."""

    round: Round
    """When it said so."""
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that is true after a record: equal for all who read the same topic."""

    run: Digest
    topic: TopicId
    params: Params
    roster: tuple[Member, ...]
    """All who ever joined: a place is never given to somebody else."""
    order: tuple[int, ...]
    """This epoch's permutation of the places."""
    cursor: int
    """Where in it the next turn is looked for."""
    epoch: int
    head: Digest
    head_size: int
    """Bytes of the head's blob; 0 for the initial one, which everybody makes at home."""
    head_pieces: Digest | None
    """Digest of the digests of its pieces, where it has several."""
    absent: tuple[int, ...]
    """For each place, rounds in a row without a sign of life."""
    inactive: frozenset[int]
    returning: frozenset[int]
    """Inactive places that have said they are back: active from the next opening."""
    whereabouts: tuple[Whereabouts | None, ...]
    """For each place, where its member listens, if it has said so."""
    seats: Seats
    money: Money
    totals: Totals
    open: OpenRound | None
    """None once the run has ended."""
    last: ClosedRound | None
    # What follows from the rest is found out once a state: all who have read as far ask for it again and again.
    _places: dict[str, int] = field(default_factory=dict, init=False, compare=False, repr=False)
    _seated: list[frozenset[int]] = field(default_factory=list, init=False, compare=False, repr=False)
    _staked: list[frozenset[int]] = field(default_factory=list, init=False, compare=False, repr=False)
    _ranks: list[tuple[int, ...]] = field(default_factory=list, init=False, compare=False, repr=False)

    def place_of(self, peer: str) -> int | None:
        """A peer's place in the roster, or None."""
        if not self._places:
            self._places.update((member.peer, place) for place, member in enumerate(self.roster))
        return self._places.get(peer)

    def peers_of(self, places: Iterable[int]) -> tuple[PeerId, ...]:
        """The peers in some places, by place."""
        return tuple(self.roster[place].peer for place in sorted(places))

    def earned_by(self, account: AccountId) -> Tinybar:
        """What an account has earned so far, whether or not it was paid yet."""
        return dict(self.money.earned).get(account, Tinybar(0))

    @property
    def seated(self) -> frozenset[int]:
        """Places of those who belong to the run now, active or not."""
        if not self._seated:
            places = frozenset(range(len(self.roster)))
            self._seated.append(places - self.seats.vacant - self.seats.expelled)
        return self._seated[0]

    @property
    def staked(self) -> frozenset[int]:
        """Seated places whose stake is large enough; all of them, where that is half of them or fewer.

        Else who pays a stake first, in a run that starts without any, would decide everything alone.
        """
        if not self._staked:
            seated, stakes, least = self.seated, self.money.stakes, self.params.stake_min
            enough = frozenset(place for place in seated if stakes[place] >= least)
            self._staked.append(enough if 2 * len(enough) > len(seated) else seated)
        return self._staked[0]

    @property
    def ranks(self) -> tuple[int, ...]:
        """For each place, how many act before it in the open round (SPEC.md, step): its proposer first.

        Then those who vote, by the order, then the others; last those whose place is newer than the order.
        """
        if not self._ranks:
            assert self.open is not None, "nobody acts in a round that is not open"
            members, order, first = self.open.members, self.order, self.order.index(self.open.proposer)
            walk = sorted(order[first:] + order[:first], key=lambda place: place not in members)
            ranks = [len(walk)] * len(self.roster)
            for rank, place in enumerate(walk):
                ranks[place] = rank
            self._ranks.append(tuple(ranks))
        return self._ranks[0]

    @property
    def rounds(self) -> int:
        """Rounds that are over."""
        totals = self.totals
        return totals.accepted + totals.rejected + totals.neutral + totals.closed + totals.passed


def state_digest(state: RunState) -> Digest:
    """The digest of what a round opens on; proposals sign it, so that a peer that has diverged is noticed.

    It covers what later rounds depend on and nothing of the round in progress. Amounts are decimal strings:
    canonical JSON carries integers up to 2^53 only.
    """
    totals, seats = state.totals, state.seats
    body = {
        "run": state.run,
        "params": state.params,
        "roster": [[member.peer, member.account] for member in state.roster],
        "head": state.head,
        "order": list(state.order),
        "cursor": state.cursor,
        "epoch": state.epoch,
        "absent": list(state.absent),
        "inactive": sorted(state.inactive),
        "terms": list(seats.terms),
        "vacant": sorted(seats.vacant),
        "joining": sorted(seats.joining),
        "leaving": sorted(seats.leaving),
        "expelled": sorted(seats.expelled),
        "amendments": seats.amendments,
        "pending": list(seats.pending),
        "money": money_form(state.money),
        "totals": [totals.accepted, totals.rejected, totals.neutral, totals.closed, totals.passed],
    }
    return digest_of(canonical_json(body))
