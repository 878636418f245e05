"""Behaviour cloning: a policy is fitted to what the expert did."""

import torch

from learners.adam import Adam
from learners.camera.film import Film
from learners.camera.policy import Weights, act
from learners.driving.dagger import Schedule
from learners.wanted import check_wanted

_ASK = 16
"""Training steps, tens of milliseconds each, between two questions whether the candidate is still wanted."""


def fit(head: Weights, film: Film, schedule: Schedule, seed: int, *, mirror: bool) -> tuple[Weights, float]:
    """Weights fitted, from the head's on, to the film's actions.

    mirror: half of each batch is turned left to right, steering too. Returns with the weights the mean
    loss over the last tenth of the steps.
    """
    adam = Adam(head)
    draw = torch.Generator().manual_seed(seed)
    images, speeds = torch.from_numpy(film.sight.images), torch.from_numpy(film.sight.speeds)
    actions = torch.from_numpy(film.actions)
    late = schedule.steps - max(1, schedule.steps // 10)
    total = 0.0
    for index in range(schedule.steps):
        if index % _ASK == 0:
            check_wanted()
        rows = torch.randint(len(film), (schedule.batch,), generator=draw)
        shown, wanted = images[rows], actions[rows]
        if mirror:
            half = schedule.batch // 2  # rows are drawn, so any half will do
            shown[:half] = shown[:half].flip(2)
            wanted[:half, 0].neg_()
        errors = act(adam.weights, shown, speeds[rows])[:, : actions.shape[1]] - wanted
        loss = errors.square().mean()
        adam.step(loss, schedule.rate_at(index))
        if index >= late:
            total += loss.item()
    return adam.fitted(), total / (schedule.steps - late)
