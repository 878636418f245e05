"""Where a policy drives, is shown what to do, and is judged: what the learner needs to know of a simulator."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learners.driving.asking import ask
from learners.driving.dataset import EMPTY, Demonstrations
from learners.driving.options import DrivingOptions
from learners.driving.rays import OBSERVATION
from learners.driving.rehearsal import Drives, rehearse
from learners.driving.rollout import Policy, by_sight, laps
from learners.driving.track import make_tracks, stack, training_seeds, validation_seeds

Laps = NDArray[np.float64]
"""One number a lap in [0, 1], 1 for a completed one; the same laps in the same order for every policy."""

_VALIDATION_START = 1


class World(Protocol):
    """A peer's private roads, and the public ones beside them."""

    observation: int
    """How many numbers a policy sees."""
    scorer: str
    """The name of the score and its version; part of the public spec."""

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations = EMPTY
    ) -> Demonstrations:
        """States to which driving on private roads led, labelled by the expert; None lets the expert drive.

        known: all labels so far. At most `labels`, fewer where the policy needs no more.
        """

    def rehearse(self, teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
        """What policies do where they do well on public roads, all on the same ones; who is watched teaches nothing."""

    def laps(self, policy: Policy) -> Laps:
        """How well a policy drives on the private validation roads."""


class TrackWorld:
    """The embedded track world; implements `World`."""

    observation = OBSERVATION
    scorer = "lap-progress/1"
    """The score of a lap is its progress; see `rollout.laps`."""

    def __init__(self, options: DrivingOptions) -> None:
        """Make the private tracks. Raises LearnerError."""
        family, seed = options.track_family(), options.seed
        self._training = stack(make_tracks(training_seeds(seed, options.train_tracks), family))
        self._validation = stack(make_tracks(validation_seeds(seed, options.validation_tracks), family))
        self._starts = options.validation_starts
        self._ask = options.ask

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations = EMPTY
    ) -> Demonstrations:
        """See `asking.ask`."""
        return ask(self._ask, policy, self._training, labels, seed, known)

    def rehearse(self, teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
        """See `rehearsal.rehearse`."""
        return rehearse(teachers, seed, watched)

    def laps(self, policy: Policy) -> Laps:
        """The progress of each lap: (starts * tracks,)."""
        return laps(by_sight(policy), self._validation, _VALIDATION_START, self._starts)
