"""The Learner protocol: what a family of models must answer to take part (SPEC.md, One round). Imports no torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import rfc8785

from protocol.ids import Digest, Ppm, Round, base64url


class BadWeights(Exception):
    """A blob that is not the weights the spec names: malformed, wrong names, shapes or dtypes, or not finite."""


class LearnerError(Exception):
    """The learner could not do what it was asked; the message names cause and remedy."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of the architecture."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """The safetensors name of the element type: F32, BF16, I64, ..."""


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """The public half of a learner: everything two peers must agree on before they can exchange weights."""

    name: str
    tensors: tuple[TensorSpec, ...]
    """Sorted by name."""
    scorer: str
    """The name of the score and its version, e.g. `lap-progress/1`."""

    def digest(self) -> Digest:
        """The SHA-256 of the spec's canonical JSON; it is part of the genesis params."""
        tensors: list[Any] = [[t.name, list(t.shape), t.dtype] for t in self.tensors]
        body = rfc8785.dumps({"name": self.name, "scorer": self.scorer, "tensors": tensors})
        return Digest(base64url(hashlib.sha256(body).digest()))


@dataclass(frozen=True, slots=True)
class Training:
    """What a turn of training did."""

    labels: int
    """Expert labels collected in this turn."""
    labels_total: int
    """Expert labels this learner has collected so far."""
    loss: float
    """Mean training loss over the last steps, in the learner's own units; shown, never voted on."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison of two sets of weights on the same private validation data and seeds."""

    head: Ppm
    """Score of the head: 0 worst, 1,000,000 best."""
    candidate: Ppm
    """Score of the candidate."""
    gain: Ppm
    """Mean paired difference, candidate minus head."""
    error: Ppm
    """Standard error of that mean."""
    samples: int
    """Number of pairs."""


@dataclass(frozen=True, slots=True)
class Merging:
    """What a merge of several updates made of them."""

    shares: tuple[Ppm, ...]
    """How much of the candidate is whose: one's own first, then as the updates were given; together 1,000,000."""


class Learner(Protocol):
    """One participant's learner: its private data, its policy, its scorer. Blocking; lives in its own process.

    Weights pass as files of safetensors bytes, never as objects.
    """

    def describe(self) -> LearnerSpec:
        """The public spec."""

    def initial(self, out: Path) -> None:
        """Write the weights that every run with this spec starts from (the same bytes on every machine)."""

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        """Collect data with the head, train from it, and write the candidate. Raises BadWeights, LearnerError."""

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """Compare two weights on the private validation data. Raises BadWeights when the candidate is malformed."""


@runtime_checkable
class Merger(Learner, Protocol):
    """A learner that can make one candidate of several members' updates (SPEC.md, contributions)."""

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        """Merge the others' updates of a head with one's own, and write the candidate.

        They come from strangers: one that is malformed or absurd has share 0, and is no reason to fail.
        Raises BadWeights when head or own are malformed, and LearnerError.
        """


@runtime_checkable
class Adopter(Learner, Protocol):
    """A learner that wants to know of each new head, because it keeps something about it; most do not."""

    def adopt(self, head: Path, round: Round) -> None:
        """Take note that these weights are the head now. Raises BadWeights."""
