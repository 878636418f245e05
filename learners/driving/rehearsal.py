"""Public roads: policies drive them side by side, and what they do on the laps they complete can be taught to others.

Rehearsal (as in learning without forgetting, Li and Hoiem 2016): the head is its own teacher, so that a peer that
trains on its own roads does not unlearn everybody else's. Distillation (Hinton, Vinyals and Dean 2015): several
peers' policies are the teachers of one. No expert is asked, and the roads say nothing about anybody's private ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from learners.driving import car
from learners.driving.car import Lanes
from learners.driving.dataset import EMPTY, Demonstrations
from learners.driving.family import PROVING_GROUND
from learners.driving.rays import observe
from learners.driving.rollout import Policy
from learners.driving.track import Bools, Floats, Ints, Track, Tracks, make_track, rehearsal_seeds, stack

TRACKS = 30
"""Public tracks that each policy drives."""
STATES = 6000
"""States kept of the completed laps, at most."""
LAST = 10
"""The last tenth of the laps is not waited for: a lap that takes so long counts as not completed."""
_POOL = 400  # tracks in all: each is made once in a process


@dataclass(frozen=True, slots=True)
class Drives:
    """What several policies did on the same public tracks, from the same starts."""

    progress: NDArray[np.float64]
    """(teachers and watched, tracks) in [0, 1], 1 for a completed lap."""
    demonstrations: Demonstrations
    """States of the fastest completed lap of each track, with the median of what those do there who complete it."""


def rehearse(teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
    """Let policies drive public tracks drawn from a seed; those that are only watched teach nothing.

    A policy that completes no lap of a track has no say there: nothing is learned from one that drives badly, and
    with three or more that drive well one that does not cannot move the median beyond theirs.
    """
    rng = np.random.default_rng(seed)
    seeds = rng.choice(rehearsal_seeds()[:_POOL], TRACKS, replace=False)
    tracks = stack([_public_track(int(each)) for each in seeds])
    drive = _drive([*teachers, *watched], tracks, rng)
    has_lapped = drive.steps[: len(teachers)] < car.MAX_STEPS
    fastest = drive.steps[: len(teachers)].argmin(axis=0)
    is_lap = np.concatenate([has_lapped, np.zeros((len(watched), TRACKS), bool)])
    taught = np.flatnonzero(is_lap[drive.driver, drive.track] & (fastest[drive.track] == drive.driver))
    if not len(taught):
        return Drives(drive.progress, EMPTY)
    chosen = rng.choice(taught, min(STATES, len(taught)), replace=False)
    states = drive.observations[chosen]
    done = np.stack([policy(states) for policy in teachers])
    done[~has_lapped[:, drive.track[chosen]]] = np.nan
    actions = np.nanmedian(done, axis=0).astype(np.float32)
    return Drives(drive.progress, Demonstrations(states, actions))


@dataclass(frozen=True, slots=True)
class _Drive:
    observations: Floats
    """(states, 15)."""
    driver: Ints
    """(states,): which policy drove there, and on which track."""
    track: Ints
    steps: Ints
    """(policies, tracks): how long each lap took; MAX_STEPS where it was not completed."""
    progress: NDArray[np.float64]


def _drive(policies: Sequence[Policy], tracks: Tracks, rng: np.random.Generator) -> _Drive:
    """All policies drive all tracks in one batch: most of a step's cost does not grow with it."""
    count = len(tracks)
    which = np.arange(count)
    lanes = _repeated(car.start(tracks, which, rng), len(policies))
    driver = np.repeat(np.arange(len(policies)), count)
    steps = np.full((len(policies), count), car.MAX_STEPS)
    progress = np.zeros((len(policies), count))
    observations, drivers, places = [], [], []
    for index in range(car.MAX_STEPS):
        seen = observe(lanes, tracks)
        observations.append(seen)
        drivers.append(driver)
        places.append(lanes.track)
        lanes = car.step(lanes, tracks, _act(policies, driver, seen))
        is_off, is_round = car.is_off(lanes, tracks), car.has_lapped(lanes, tracks)
        is_over: Bools = is_off | is_round
        progress[driver, lanes.track] = car.progress(lanes, tracks)
        done = is_round & ~is_off
        steps[driver[done], lanes.track[done]] = index
        lanes, driver = lanes.keep(~is_over), driver[~is_over]
        if len(lanes) * LAST <= progress.size:
            break
    return _Drive(
        np.concatenate(observations), np.concatenate(drivers), np.concatenate(places), steps, progress
    )


def _act(policies: Sequence[Policy], driver: Ints, seen: Floats) -> Floats:
    """Each policy acts in its own lanes, which lie side by side."""
    ends = np.searchsorted(driver, np.arange(len(policies) + 1))
    return np.concatenate([policy(seen[ends[k] : ends[k + 1]]) for k, policy in enumerate(policies)])


def _repeated(lanes: Lanes, times: int) -> Lanes:
    return lanes.taken(np.tile(np.arange(len(lanes)), times))


@cache
def _public_track(seed: int) -> Track:
    return make_track(seed, PROVING_GROUND)
