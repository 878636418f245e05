"""What a policy sees: MetaDrive's own state and navigation numbers and the cars nearby, scaled so that each matters.

Left out is what tells the last action (steering, throttle): a policy that sees it learns to repeat it
(de Haan, Jayaraman and Levine 2019).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learners.driving.track import Floats
from learners.metadrive.expert import Car

CARS = 4
"""How many of the nearest cars are seen."""
OBSERVATION = 15 + 5 * CARS
"""Room on the left and the right, heading, speed, place in the lane; five numbers of each of the next two
checkpoints; five of each of the nearest cars."""
RANGE = 50.0
"""Metres within which a car is seen."""

_SIDE = 2.7  # MetaDrive divides the room beside one by 27 m
_TURN = 3.0
_SLOW = 2.0
_SHARP = 0.1  # of MetaDrive's greatest radius: a bend this sharp counts 1
_CLOSING = 10.0  # m/s


def see(state: NDArray[np.float64], car: Car, others: Sequence[Car]) -> Floats:
    """The observation: (OBSERVATION,) float32, about -1 to 1.

    state: MetaDrive's (19,), see its StateObservation.
    """
    parts = [
        state[0:2] * _SIDE,
        np.clip((2 * state[2:3] - 1) * _TURN, -1.5, 1.5),
        state[3:4] * _SLOW,
        2 * state[8:9] - 1,
        _checkpoint(state[9:14]),
        _checkpoint(state[14:19]),
        _cars(car, others),
    ]
    return np.concatenate(parts).astype(np.float32)


def _checkpoint(navigation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Forward, aside, how sharp the road to it bends and how far round; and its bearing."""
    forward, aside, radius, direction, angle = navigation
    forward, aside, direction = 2 * forward - 1, 2 * aside - 1, 2 * direction - 1
    bend = direction * min(1.25, _SHARP / radius) if radius > 0 else 0.0
    return np.array([forward, 2 * aside, bend, 2 * angle - 1, math.atan2(aside, forward) / math.pi * 2])


def _cars(car: Car, others: Sequence[Car]) -> NDArray[np.float64]:
    """Nearness, place and relative velocity of the nearest cars, as seen along one's own heading; 0 where none is."""
    found = np.zeros((CARS, 5))
    cosine, sine = math.cos(car.heading), math.sin(car.heading)
    near = sorted(others, key=lambda other: math.hypot(other.x - car.x, other.y - car.y))
    for row, other in zip(found, near, strict=False):
        x, y = other.x - car.x, other.y - car.y
        distance = math.hypot(x, y)
        if distance > RANGE:
            break
        fast_x = other.speed * math.cos(other.heading) - car.speed * cosine
        fast_y = other.speed * math.sin(other.heading) - car.speed * sine
        row[:] = (
            1 - distance / RANGE,
            (cosine * x + sine * y) / RANGE,
            (cosine * y - sine * x) / RANGE,
            (cosine * fast_x + sine * fast_y) / _CLOSING,
            (cosine * fast_y - sine * fast_x) / _CLOSING,
        )
    return found.reshape(-1)
