"""The expert that labels demonstrations: pure pursuit (Coulter 1992) with a speed the bends ahead allow."""

import numpy as np

from learners.driving.car import GRAVITY, MAX_STEERING, WHEELBASE, Lanes
from learners.driving.track import POINTS, Floats, Tracks

_LOOK_AHEAD = 4.0  # metres, plus this many seconds of driving:
_LOOK_AHEAD_SECONDS = 0.45
_HORIZON = np.arange(0.0, 50.0, 2.0, dtype=np.float32)
_GRIP_SHARE = 0.55  # of the friction limit, in bends
_BRAKING = 4.0  # m/s^2, planned; the car has twice as much
_SPEEDS = (3.0, 22.0)


def drive(lanes: Lanes, tracks: Tracks) -> Floats:
    """The expert's actions: (lanes, 2), steering and throttle in [-1, 1]. It sees the centreline."""
    return np.stack([_steering(lanes, tracks), _throttle(lanes, tracks)], axis=1)


def _steering(lanes: Lanes, tracks: Tracks) -> Floats:
    ahead = _LOOK_AHEAD + _LOOK_AHEAD_SECONDS * lanes.speed
    goal = (lanes.station + (ahead / tracks.spacing[lanes.track]).astype(np.int64)) % POINTS
    away_x, away_y = tracks.x[lanes.track, goal] - lanes.x, tracks.y[lanes.track, goal] - lanes.y
    bearing = np.arctan2(away_y, away_x) - lanes.heading
    distance = np.hypot(away_x, away_y).clip(1.0, None)
    angle = np.arctan(2 * WHEELBASE * np.sin(bearing) / distance)
    steering: Floats = np.clip(angle / MAX_STEERING, -1, 1, dtype=np.float32)
    return steering


def _throttle(lanes: Lanes, tracks: Tracks) -> Floats:
    points = (_HORIZON / tracks.spacing[lanes.track][:, None]).astype(np.int64)
    bends = np.abs(tracks.curvature[lanes.track[:, None], (lanes.station[:, None] + points) % POINTS])
    grip = _GRIP_SHARE * GRAVITY * tracks.friction[lanes.track][:, None]
    allowed = grip / bends.clip(1e-3, None) + 2 * _BRAKING * _HORIZON
    target = np.sqrt(allowed.min(axis=1)).clip(*_SPEEDS)
    throttle: Floats = np.clip((target - lanes.speed) * 0.6, -1, 1, dtype=np.float32)
    return throttle
