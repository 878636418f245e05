"""Paired closed-loop scores: head and candidate drive the same tracks from the same starts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learners.driving.family import Family
from learners.driving.policy import Weights, policy_of
from learners.driving.rollout import Pilot, by_sight, laps
from learners.driving.track import Tracks, held_out_seeds, make_tracks, stack

SCORER = "lap-progress/1"
"""The score of a lap is its progress, 1 for a completed one; see `rollout.laps`."""
HELD_OUT_START = 7

Laps = NDArray[np.float64]


def drive(weights: Weights, tracks: Tracks, seed: int, starts: int) -> Laps:
    """The progress of each lap of a policy: (starts * tracks,), what `paired.paired` compares."""
    return laps(by_sight(policy_of(weights)), tracks, seed, starts)


def held_out(families: Sequence[Family], count: int) -> Tracks:
    """`count` public tracks of each family, side by side, that nobody trains or votes on."""
    return stack([track for family in families for track in make_tracks(held_out_seeds(count), family)])


def lap_success(pilot: Pilot, tracks: Tracks, families: int) -> tuple[float, ...]:
    """The share of laps completed on each family's part of `held_out` tracks."""
    result = laps(pilot, tracks, HELD_OUT_START)
    return tuple(float(share) for share in (result == 1.0).reshape(families, -1).mean(axis=1))
