"""Where a camera policy learns and is judged: in recordings, or in the track world."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learners.camera.film import Film
from learners.camera.policy import Weights
from protocol.ids import Round


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a turn trains on."""

    film: Film
    fresh: int
    """Labels that the expert was asked for in this turn."""
    total: int
    """Labels there are in all, whether in memory or not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good some policies are, sample by sample; the same samples in the same order for each."""

    scores: NDArray[np.float64]
    """(policies, samples) in [0, 1], higher is better."""
    clusters: NDArray[np.int64]
    """(samples,): samples of one cluster resemble each other; see `paired.paired_by`."""


class World(Protocol):
    """A peer's private data."""

    scorer: str
    """The name of the score and its version; part of the public spec."""

    def lesson(self, head: Weights, round: Round, seed: int) -> Lesson:
        """What to train the head on in this round: the same after a restart. Raises LearnerError."""

    def judge(self, policies: Sequence[Weights]) -> Judgement:
        """How good these are on the private validation data. Raises LearnerError."""
