"""The genesis parameters: what all members agree on before the first round (SPEC.md, params)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocol.fields import MAX_INTEGER, DigestField, Model, Name
from protocol.ids import SECOND, Nanoseconds, Ppm, Tinybar

PpmField = Annotated[Ppm, Field(ge=0, le=1_000_000)]
TinybarField = Annotated[Tinybar, Field(ge=0, le=MAX_INTEGER)]


MIN_COMMITTEE = 21
"""With 30 % bad of 40, 7 drawn have a bad majority in 10 % of draws, 21 in 0.1 %."""


class LearnerRef(Model):
    """Which learner everybody runs."""

    name: Name
    """The registered name of the learner."""
    spec: DigestField
    """Digest of its public spec: architecture, tensor names, shapes, dtypes, scorer."""


class Params(Model):
    """The rules of one run; two thirds of the members can change them, but for learner and initial weights."""

    learner: LearnerRef
    initial: DigestField
    """The blob of the initial weights."""
    approval: PpmField = Ppm(500_000)
    """A: a candidate is accepted when approvals exceed this share of the decisive votes."""
    participation: PpmField = Ppm(500_000)
    """P: no outcome before this share of the round's members has voted."""
    min_approvals: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Approvals needed from members other than the proposer; None: 0 with admission by vote, else a third of them."""
    committee_size: Annotated[int, Field(ge=0, le=998)] = 0
    """Members drawn to vote in each round, beside the proposer, once its proposal is on the topic; 0: all vote."""
    round_window: Annotated[int, Field(ge=1, le=604_800)] = 60
    """Seconds from the opening of a round to its deadline."""
    contribution_window: Annotated[int, Field(ge=0, le=302_400)] = 0
    """Seconds from a round's opening in which the others' updates reach its proposer; 0: it works alone."""
    inactive_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """A member absent from this many rounds in a row is left out until it says it is back."""
    max_rounds: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    """The run ends when this round closes; 0: it has no end."""
    max_blob_bytes: Annotated[int, Field(ge=1, le=MAX_INTEGER)] = 64 * 1024 * 1024
    """Bytes of the largest weights a member must fetch."""
    admission: Literal["vote", "open"] = "vote"
    """Who may join: whom more than half of the round's members sign for, or whoever pays the stake."""
    stake_min: TinybarField = Tinybar(0)
    """A member whose stake is below this is left out until it tops it up."""
    unbonding_rounds: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 20
    """Rounds for which the stake of a member that has left can still be lost to a fault."""
    reward_proposal: TinybarField = Tinybar(0)
    """The most that the contributors of an accepted proposal are credited together."""
    reward_per_ppm: TinybarField = Tinybar(1_000)
    """k: what each ppm of gain that the voters found is worth to them, and each of loss costs who proposed it."""
    reward_vote: TinybarField = Tinybar(0)
    """Credit of each vote in a round that was accepted or rejected."""
    penalty_rejected: TinybarField = Tinybar(0)
    """The most that the proposer of a clearly rejected candidate loses of its stake."""
    penalty_outvoted: TinybarField = Tinybar(0)
    """What a voter loses of its stake when the others clearly say the opposite."""
    penalty_contested: TinybarField = Tinybar(0)
    """What each who rejects loses where that is narrowly enough; the proposer loses as much as all of them."""
    penalty_absent: TinybarField = Tinybar(0)
    """What a member loses of its stake for a round in which it was absent."""
    settle_every: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Rounds after which what is owed may be paid."""
    settle_window: Annotated[int, Field(ge=10, le=5_000_000)] = 1_800
    """Seconds that the members have to sign a payment."""
    settle_fee: Annotated[Tinybar, Field(ge=1, le=100_000_000_000)] = Tinybar(20_000_000)
    """The most that the treasury may be charged for one payment; the pool bears it."""

    @model_validator(mode="after")
    def _strangers_have_a_stake(self) -> "Params":
        if self.admission == "open" and not self.stake_min:
            raise ValueError("admission to all needs a stake: set stake_min, or admission to vote")
        return self

    @model_validator(mode="after")
    def _committees_cannot_be_bought(self) -> "Params":
        if 0 < self.committee_size < MIN_COMMITTEE:
            raise ValueError(f"a committee has at least {MIN_COMMITTEE} members, or 0: everybody votes")
        return self

    @model_validator(mode="after")
    def _contributions_leave_time_to_vote(self) -> "Params":
        if 2 * self.contribution_window > self.round_window:
            raise ValueError("contribution_window is at most half of round_window: the rest is for the vote")
        return self

    def approvals_needed(self, members: int) -> int:
        """Approvals by others than the proposer that n members need: among strangers more than can be faulty."""
        if self.min_approvals is not None:
            return self.min_approvals
        return 0 if self.admission == "vote" else (members - 1) // 3 + 1

    @property
    def window(self) -> Nanoseconds:
        """The length of a round."""
        return Nanoseconds(self.round_window * SECOND)

    @property
    def gathering(self) -> Nanoseconds:
        """How long a proposer waits for updates at most."""
        return Nanoseconds(self.contribution_window * SECOND)
