"""The expert that labels demonstrations: pure pursuit (Coulter 1992) along a route's lanes, with room to stop.

What MetaDrive's own experts do depends on what they did before, or on chance. This one sees the map, and the same
state always has the same label, as imitation wants it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(points, 2): x and y, metres."""

CRUISE = 10.0
"""m/s where nothing asks for less."""
_STEP = 2.0  # metres between two points of the way ahead
_WAY = 22  # points of it: 44 m
_LOOK_AHEAD = 2.5  # metres, plus this many seconds of driving:
_LOOK_AHEAD_SECONDS = 0.3
_MAX_STEERING = math.radians(40.0)
_WHEELBASE = 2.5
_GRIP = 2.5  # m/s^2 in bends
_BRAKING = 2.5  # m/s^2, planned
_GAP = 7.0  # metres between two cars' middles when both stand
_NEAR = 2.2  # metres from the way ahead within which a car stands in it
_SOON = np.arange(0.0, 3.1, 0.5)  # seconds: where a car will be by then counts, if one is there
_CLOSE = 1.5  # seconds before or after it
_JOINED = 1.0  # metres between the end of a lane and the start of the one it leads into
_SHIFT = 1.0  # what a change of lane costs
_DEAD_END = 1000.0  # what a lane costs that does not lead on


class Lane(Protocol):
    """What the expert asks of a lane of MetaDrive's."""

    length: float

    def position(self, longitudinal: float, lateral: float) -> Sequence[float]:
        """A point in the world."""

    def local_coordinates(self, position: Sequence[float]) -> tuple[float, float]:
        """How far along the lane a point is, and how far beside it."""


@dataclass(frozen=True, slots=True)
class Car:
    """Where a car is and how it moves: metres, radians, m/s."""

    x: float
    y: float
    heading: float
    speed: float


class Route:
    """A route as the expert sees it: its roads, the lanes of each, and what it costs to go on from a lane."""

    def __init__(self, roads: Sequence[Sequence[Lane]]) -> None:
        """roads: in driving order; lanes from the left to the right."""
        self._roads = roads
        self._onward = [_joined(here, there) for here, there in pairwise(roads)]
        costs = [np.zeros(len(roads[-1]))]
        for links in reversed(self._onward):
            later = _with_shifts(costs[0])
            costs.insert(0, np.array([min((later[j] for j in to), default=_DEAD_END) for to in links]))
        self._costs = costs

    def lane_ahead(self, road: int, lane: int) -> int:
        """The lane of a road to make for, from a lane of it."""
        shifts = _SHIFT * np.abs(np.arange(len(self._costs[road])) - lane)
        return int(np.argmin(self._costs[road] + shifts))

    def nearest(self, road: int, x: float, y: float) -> int:
        """The lane of a road whose middle is nearest."""
        return int(np.argmin([abs(lane.local_coordinates((x, y))[1]) for lane in self._roads[road]]))

    def way(self, road: int, x: float, y: float) -> Points:
        """The way ahead from a place on a road: _WAY points, _STEP apart."""
        chosen = self.lane_ahead(road, self.nearest(road, x, y))
        along, _ = self._roads[road][chosen].local_coordinates((x, y))
        points = []
        for _ in range(_WAY):
            along += _STEP
            while along > self._roads[road][chosen].length and road + 1 < len(self._roads):
                along -= self._roads[road][chosen].length
                following = self._onward[road][chosen] or range(len(self._roads[road + 1]))
                road += 1
                chosen = self.lane_ahead(road, min(following, key=lambda lane: self._costs[road][lane]))
            points.append(self._roads[road][chosen].position(along, 0.0))
        return np.asarray(points, np.float64)


def drive(route: Route, road: int, car: Car, others: Iterable[Car]) -> tuple[float, float]:
    """Steering and throttle in [-1, 1] for a car on a road of its route, among others."""
    way = route.way(road, car.x, car.y)
    speed = min(CRUISE, _in_bends(way), _behind(way, car.speed, others))
    return _steering(way, car), float(np.clip(0.4 * (speed - car.speed), -1.0, 1.0))


def _steering(way: Points, car: Car) -> float:
    ahead = _LOOK_AHEAD + _LOOK_AHEAD_SECONDS * car.speed
    spot = min(ahead / _STEP - 1.0, len(way) - 1.0)
    index = max(0, min(int(spot), len(way) - 2))
    goal = way[index] + (spot - index) * (way[index + 1] - way[index])
    away = goal - (car.x, car.y)
    bearing = math.remainder(math.atan2(away[1], away[0]) - car.heading, math.tau)
    aside = float(np.hypot(*away)) * math.sin(bearing)
    angle = math.atan(2 * _WHEELBASE * aside / max(1.0, float(away @ away)))
    return float(np.clip(angle / _MAX_STEERING, -1.0, 1.0))


def _in_bends(way: Points) -> float:
    """The speed that the bends ahead allow, with the braking there is room for."""
    steps = np.diff(way, axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    turns = np.abs(np.angle(np.exp(1j * np.diff(headings))))
    allowed = _GRIP * _STEP / turns.clip(1e-3, None) + 2 * _BRAKING * _STEP * np.arange(1, len(turns) + 1)
    return float(np.sqrt(allowed.min()))


def _behind(way: Points, speed: float, others: Iterable[Car]) -> float:
    """The speed that leaves room to stop behind whoever is in the way, or is going to be when one gets there."""
    allowed = CRUISE
    for other in others:
        forward = np.array([math.cos(other.heading), math.sin(other.heading)]) * other.speed
        places = np.array([other.x, other.y]) + _SOON[:, None] * forward
        distances = np.linalg.norm(way[None] - places[:, None], axis=-1)
        nearest = distances.argmin(axis=1)
        arrival = _STEP * (nearest + 1) / max(speed, 2.0)
        is_met = (distances.min(axis=1) < _NEAR) & (np.abs(arrival - _SOON) < _CLOSE)
        for when in np.flatnonzero(is_met | ((_SOON == 0.0) & (distances.min(axis=1) < _NEAR))):
            spot = int(nearest[when])
            ahead = (way[spot] - way[spot - 1]) if spot else way[1] - way[0]
            follows = max(0.0, float(forward @ ahead) / _STEP)
            room = max(0.0, _STEP * (spot + 1) - _GAP)
            allowed = min(allowed, math.sqrt(follows**2 + 2 * _BRAKING * room))
    return allowed


def _joined(here: Sequence[Lane], there: Sequence[Lane]) -> list[list[int]]:
    """For each lane of a road, the lanes of the next one that it leads into."""
    ends = np.array([lane.position(lane.length, 0.0) for lane in here])
    starts = np.array([lane.position(0.0, 0.0) for lane in there])
    gaps = np.linalg.norm(ends[:, None] - starts[None], axis=-1)
    return [np.flatnonzero(row < _JOINED).tolist() for row in gaps]


def _with_shifts(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    lanes = np.arange(len(costs))
    best: NDArray[np.float64] = (costs[None] + _SHIFT * np.abs(lanes[:, None] - lanes[None])).min(axis=1)
    return best
