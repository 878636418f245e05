"""What daemon and learner process say to each other: strict JSON over gRPC on a unix socket. No torch.

Weights never pass here, only the paths of their files.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from learners.learner import Comparison, LearnerSpec, Merging, TensorSpec, Training
from protocol.ids import Ppm, Round

SERVICE = "roundabout.Learner"
MAX_MESSAGE = 1024 * 1024
"""Bytes of the longest request or answer: the spec of a model of some thousand tensors."""

_Number = Annotated[int, Field(ge=0)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Describe(_Message):
    """Ask for the public spec."""


class Initial(_Message):
    """Ask for the initial weights in a file."""

    out: Path


class Propose(_Message):
    """Ask for a turn of training."""

    head: Path
    round: _Number
    out: Path


class Merge(_Message):
    """Ask for one candidate made of several updates."""

    head: Path
    own: Path
    updates: tuple[Path, ...]
    round: _Number
    out: Path


class Score(_Message):
    """Ask for a paired comparison."""

    head: Path
    candidate: Path
    round: _Number


class Adopt(_Message):
    """Tell which weights are the head now."""

    head: Path
    round: _Number


Request = Describe | Initial | Propose | Merge | Score | Adopt
METHODS: tuple[type[Request], ...] = (Describe, Initial, Propose, Merge, Score, Adopt)


class Done(_Message):
    """It is done and there is nothing to say."""

    kind: Literal["done"] = "done"


class Tensor(_Message):
    """One tensor of a spec."""

    name: str
    shape: tuple[_Number, ...]
    dtype: str


class Spec(_Message):
    """The public spec."""

    kind: Literal["spec"] = "spec"
    name: str
    tensors: tuple[Tensor, ...]
    scorer: str
    adopts: bool
    """Whether the learner wants to know of each new head."""
    merges: bool
    """Whether it can merge updates."""

    @classmethod
    def of(cls, spec: LearnerSpec, adopts: bool, merges: bool) -> "Spec":
        """As a message."""
        tensors = tuple(Tensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in spec.tensors)
        return cls(name=spec.name, tensors=tensors, scorer=spec.scorer, adopts=adopts, merges=merges)

    def value(self) -> LearnerSpec:
        """As the port's own type."""
        tensors = tuple(TensorSpec(t.name, t.shape, t.dtype) for t in self.tensors)
        return LearnerSpec(self.name, tensors, self.scorer)


class Trained(_Message):
    """What a turn of training did."""

    kind: Literal["trained"] = "trained"
    labels: _Number
    labels_total: _Number
    loss: float

    @classmethod
    def of(cls, training: Training) -> "Trained":
        """As a message."""
        return cls(labels=training.labels, labels_total=training.labels_total, loss=training.loss)

    def value(self) -> Training:
        """As the port's own type."""
        return Training(self.labels, self.labels_total, self.loss)


class Merged(_Message):
    """How much of a merged candidate is whose, ppm."""

    kind: Literal["merged"] = "merged"
    shares: tuple[_Number, ...]

    @classmethod
    def of(cls, merging: Merging) -> "Merged":
        """As a message."""
        return cls(shares=merging.shares)

    def value(self) -> Merging:
        """As the port's own type."""
        return Merging(tuple(Ppm(share) for share in self.shares))


class Compared(_Message):
    """A paired comparison, ppm."""

    kind: Literal["compared"] = "compared"
    head: int
    candidate: int
    gain: int
    error: _Number
    samples: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, seen: Comparison) -> "Compared":
        """As a message."""
        return cls(
            head=seen.head, candidate=seen.candidate, gain=seen.gain, error=seen.error, samples=seen.samples
        )

    def value(self) -> Comparison:
        """As the port's own type."""
        return Comparison(Ppm(self.head), Ppm(self.candidate), Ppm(self.gain), Ppm(self.error), self.samples)


class Fault(_Message):
    """The learner refused: `bad-weights` blames whoever made them, `learner` is about this machine."""

    kind: Literal["fault"] = "fault"
    blames: Literal["bad-weights", "learner"]
    message: str


class Ready(_Message):
    """The first line of a learner process on its standard output: it serves now."""

    kind: Literal["ready"] = "ready"


Answer = Done | Spec | Trained | Merged | Compared | Fault | Ready
ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])


def round_of(request: Propose | Merge | Score | Adopt) -> Round:
    """The round a request is about."""
    return Round(request.round)


def encode(message: BaseModel) -> bytes:
    """A message as JSON bytes."""
    return message.model_dump_json().encode()
