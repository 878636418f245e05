"""DAgger (Ross, Gordon, Bagnell 2011): the policy drives, the expert labels, the policy is fitted."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from learners.adam import Adam
from learners.driving import car, expert
from learners.driving.dataset import Demonstrations
from learners.driving.policy import Weights, act
from learners.driving.rays import observe
from learners.driving.rollout import Policy
from learners.driving.track import Tracks
from learners.wanted import check_wanted

LANES = 8
"""Cars that collect side by side."""
DRIVE_STEPS = 400
"""How long each of them drives: 20 s."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a policy is fitted."""

    steps: int = 1500
    batch: int = 256
    rate: float = 1e-3
    """Adam's learning rate at the start; it falls along a cosine"""
    final_rate: float = 1e-4
    """to this."""

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.final_rate + (self.rate - self.final_rate) * fall


def collect(policy: Policy | None, tracks: Tracks, labels: int, seed: int) -> Demonstrations:
    """Exactly `labels` states that driving led to, each with the expert's action there.

    policy: who drives; None lets the expert drive, for a peer that has no data yet. Driving is free and
    labels are not, so states are drawn from long drives: neighbours in time would say the same twice.
    """
    rng = np.random.default_rng(seed)
    seen = drive(policy, tracks, max(DRIVE_STEPS, math.ceil(labels / LANES)), rng)
    return seen.at(rng.choice(len(seen), labels, replace=False))


def drive(policy: Policy | None, tracks: Tracks, steps: int, rng: np.random.Generator) -> Demonstrations:
    """All states of a drive, LANES times `steps` of them in order of time, as the expert would label them."""
    lanes = car.start(tracks, rng.integers(0, len(tracks), LANES), rng)
    observations, actions = [], []
    for _ in range(steps):
        seen, wanted = observe(lanes, tracks), expert.drive(lanes, tracks)
        observations.append(seen)
        actions.append(wanted)
        lanes = car.step(lanes, tracks, wanted if policy is None else policy(seen))
        lanes, _ = car.restarted(lanes, tracks, rng)
    return Demonstrations(np.concatenate(observations), np.concatenate(actions))


_ASK = 64
"""Training steps, a few milliseconds each at most, between two questions whether the candidate is still wanted."""


def fit(
    head: Weights, demonstrations: Demonstrations, rehearsal: Demonstrations, schedule: Schedule, seed: int
) -> tuple[Weights, float]:
    """Weights fitted, from the head's on, to the demonstrations and, as much, to the rehearsal if any.

    Returns with them the mean loss on the demonstrations over the last tenth of the steps.
    """
    adam = Adam(head)
    draw = torch.Generator().manual_seed(seed)
    observations = torch.from_numpy(np.concatenate([demonstrations.observations, rehearsal.observations]))
    actions = torch.from_numpy(np.concatenate([demonstrations.actions, rehearsal.actions]))
    late = schedule.steps - max(1, schedule.steps // 10)
    total = 0.0
    for index in range(schedule.steps):
        if index % _ASK == 0:
            check_wanted()
        rows = torch.randint(len(demonstrations), (schedule.batch,), generator=draw)
        if len(rehearsal):
            others = torch.randint(len(demonstrations), len(actions), (schedule.batch,), generator=draw)
            rows = torch.cat([rows, others])
        errors = (act(adam.weights, observations[rows]) - actions[rows]).square()
        adam.step(errors.mean(), schedule.rate_at(index))
        if index >= late:
            total += errors[: schedule.batch].mean().item()
    return adam.fitted(), total / (schedule.steps - late)
