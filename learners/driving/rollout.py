"""Closed-loop laps: a pilot drives every track once from a seeded start, all lanes in one batch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learners.driving import car, expert
from learners.driving.car import Lanes
from learners.driving.rays import observe
from learners.driving.track import Floats, Tracks

Pilot = Callable[[Lanes, Tracks], Floats]
"""Actions (lanes, 2) for a batch of lanes."""
Policy = Callable[[Floats], Floats]
"""Actions (lanes, 2) from observations (lanes, 15)."""

EXPERT: Pilot = expert.drive


def by_sight(policy: Policy) -> Pilot:
    """The pilot that acts on what it sees alone."""
    return lambda lanes, tracks: policy(observe(lanes, tracks))


def laps(pilot: Pilot, tracks: Tracks, seed: int, repeats: int = 1) -> NDArray[np.float64]:
    """Lap progress of one car a track in [0, 1], 1 for a completed lap: (repeats * tracks,).

    The same seed gives the same starts to every pilot. A lap ends when it is completed, when the car leaves
    the track, or after MAX_STEPS.
    """
    which = np.tile(np.arange(len(tracks)), repeats)
    lanes = car.start(tracks, which, np.random.default_rng(seed))
    result = np.zeros(len(which))
    place = np.arange(len(which))  # where in the result each lane still running belongs
    for _ in range(car.MAX_STEPS):
        lanes = car.step(lanes, tracks, pilot(lanes, tracks))
        is_off, has_lapped = car.is_off(lanes, tracks), car.has_lapped(lanes, tracks)
        is_over = is_off | has_lapped
        if is_over.any():
            result[place[is_over]] = np.where(is_off, _short_of_a_lap(lanes, tracks), 1.0)[is_over]
            lanes, place = lanes.keep(~is_over), place[~is_over]
            if not len(lanes):
                return result
    result[place] = _short_of_a_lap(lanes, tracks)
    return result


def _short_of_a_lap(lanes: Lanes, tracks: Tracks) -> NDArray[np.float64]:
    # One float below 1, so that a lap completed and a lap failed at the line stay different.
    return car.progress(lanes, tracks).astype(np.float64).clip(0, np.nextafter(1.0, 0.0))
