"""Rehearsal, so that a peer that trains on its own roads does not unlearn everybody else's.

As in learning without forgetting (Li and Hoiem 2016), the head is its own teacher: it drives public tracks,
and what it does on the laps that it completes is part of what the candidate is fitted to. No expert is asked,
and the tracks say nothing about anybody's private ones.
"""

import numpy as np

from learners.driving import car
from learners.driving.dataset import EMPTY, Demonstrations, labelled
from learners.driving.family import PROVING_GROUND
from learners.driving.rays import observe
from learners.driving.rollout import Policy
from learners.driving.track import make_tracks, rehearsal_seeds, stack

TRACKS = 40
"""Public tracks that are driven before each training."""
STATES = 2000
"""States kept of the completed laps, at most."""


def rehearse(policy: Policy, seed: int) -> Demonstrations:
    """States of the laps that the policy completes on public tracks, and its actions there; maybe none."""
    rng = np.random.default_rng(seed)
    seeds = rng.choice(rehearsal_seeds(), TRACKS, replace=False).tolist()
    tracks = stack(make_tracks(seeds, PROVING_GROUND))
    lanes, driver = car.start(tracks, np.arange(TRACKS), rng), np.arange(TRACKS)
    has_lapped = np.zeros(TRACKS, bool)
    observations, actions, drivers = [], [], []
    for _ in range(car.MAX_STEPS):
        seen = observe(lanes, tracks)
        done = policy(seen)
        observations.append(seen)
        actions.append(done)
        drivers.append(driver)
        lanes = car.step(lanes, tracks, done)
        is_off, is_round = car.is_off(lanes, tracks), car.has_lapped(lanes, tracks)
        has_lapped[driver[is_round & ~is_off]] = True
        lanes, driver = lanes.keep(~(is_off | is_round)), driver[~(is_off | is_round)]
        if not len(lanes):
            break
    states = np.flatnonzero(has_lapped[np.concatenate(drivers)])
    if not len(states):
        return EMPTY
    chosen = rng.choice(states, min(STATES, len(states)), replace=False)
    return labelled(np.concatenate(observations)[chosen], np.concatenate(actions)[chosen])
