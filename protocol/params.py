"""The genesis parameters: what all members agree on before the first round (SPEC.md, params)."""

from typing import Annotated

from pydantic import Field

from protocol.fields import MAX_INTEGER, DigestField, Model, Name
from protocol.ids import SECOND, Nanoseconds, Ppm, Tinybar

PpmField = Annotated[Ppm, Field(ge=0, le=1_000_000)]
TinybarField = Annotated[Tinybar, Field(ge=0, le=MAX_INTEGER)]


class LearnerRef(Model):
    """Which learner everybody runs."""

    name: Name
    """The registered name of the learner."""
    spec: DigestField
    """Digest of its public spec: architecture, tensor names, shapes, dtypes, scorer."""


class Params(Model):
    """The rules of one run; they do not change while it lasts."""

    learner: LearnerRef
    initial: DigestField
    """The blob of the initial weights."""
    approval: PpmField = Ppm(500_000)
    """A: a candidate is accepted when approvals exceed this share of the decisive votes."""
    participation: PpmField = Ppm(500_000)
    """P: no outcome before this share of the round's members has voted."""
    min_approvals: Annotated[int, Field(ge=0, le=1000)] = 0
    """Approvals needed from members other than the proposer; 0 where members are vetted."""
    round_window: Annotated[int, Field(ge=1, le=604_800)] = 60
    """Seconds from the opening of a round to its deadline."""
    inactive_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """A member absent from this many rounds in a row is left out until it says it is back."""
    max_rounds: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    """The run ends when this round closes; 0: it has no end."""
    max_blob_bytes: Annotated[int, Field(ge=1, le=MAX_INTEGER)] = 64 * 1024 * 1024
    """Bytes of the largest weights a member must fetch."""
    reward_proposal: TinybarField = Tinybar(0)
    """Credit of the contributors of an accepted proposal."""
    reward_vote: TinybarField = Tinybar(0)
    """Credit of each vote in a round that was accepted or rejected."""

    @property
    def window(self) -> Nanoseconds:
        """The length of a round."""
        return Nanoseconds(self.round_window * SECOND)
