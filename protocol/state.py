"""What the fold knows: the state of a run between two records (SPEC.md, RunState)."""

from dataclasses import dataclass
from typing import Literal

from protocol.fields import canonical_json
from protocol.ids import AccountId, Digest, Nanoseconds, Round, Tinybar, TopicId, digest_of
from protocol.messages import Opening, Proposal, Vote
from protocol.params import Params
from protocol.records import Member

Ending = Literal["accepted", "rejected", "neutral", "closed", "passed"]
"""How a round can end: by its votes, by the deadline without an outcome, or because its proposer passed."""


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The round in progress; all but what was seen on the topic is frozen when it opens."""

    number: Round
    opening: Opening
    members: frozenset[int]
    """Places that may vote: those who are not inactive."""
    proposer: int
    deadline: Nanoseconds
    proposals: tuple[Proposal, ...] = ()
    """Different proposals of this round on the topic: two prove equivocation, more are not kept."""
    votes: tuple[Vote, ...] = ()
    """The first vote of each voter seen on the topic."""
    doubled: frozenset[int] = frozenset()
    """Voters seen with two different votes: they count as abstaining."""


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


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that is true after a record: equal for all who read the same topic."""

    run: Digest
    topic: TopicId
    params: Params
    roster: tuple[Member, ...]
    order: tuple[int, ...]
    """This epoch's permutation of the places."""
    cursor: int
    """Where in it the next turn is looked for."""
    epoch: int
    head: Digest
    head_size: int
    """Bytes of the head's blob; 0 for the initial one, which everybody makes at home."""
    absent: tuple[int, ...]
    """For each place, rounds in a row without a sign of life."""
    inactive: frozenset[int]
    returning: frozenset[int]
    """Inactive places that have said they are back: active from the next opening."""
    credits: tuple[tuple[AccountId, Tinybar], ...]
    """What each account has earned, sorted by account."""
    totals: Totals
    open: OpenRound | None
    """None once the run has ended."""
    last: ClosedRound | None

    def place_of(self, peer: str) -> int | None:
        """A peer's place in the roster, or None."""
        for place, member in enumerate(self.roster):
            if member.peer == peer:
                return place
        return None

    def credit_of(self, account: AccountId) -> Tinybar:
        """What an account has earned so far."""
        return dict(self.credits).get(account, Tinybar(0))


def state_digest(state: RunState) -> Digest:
    """The digest of what a round opens on; proposals sign it, so that a peer that has diverged is noticed.

    It covers what later rounds depend on and nothing of the round in progress. Amounts are decimal strings:
    canonical JSON carries integers up to 2^53 only.
    """
    totals = state.totals
    body = {
        "run": state.run,
        "head": state.head,
        "order": list(state.order),
        "cursor": state.cursor,
        "epoch": state.epoch,
        "absent": list(state.absent),
        "inactive": sorted(state.inactive),
        "credits": [[account, str(amount)] for account, amount in state.credits],
        "totals": [totals.accepted, totals.rejected, totals.neutral, totals.closed, totals.passed],
    }
    return digest_of(canonical_json(body))
