"""What a car sees: the distance to the nearest border along thirteen rays, its speed and its steering."""

import numpy as np

from learners.driving.car import MAX_SPEED, MAX_STEERING, Lanes
from learners.driving.track import BORDER_POINTS, BORDER_STEP, Floats, Tracks

RAYS = 13
RANGE = 40.0
"""Metres; a ray that meets nothing nearer reports this."""
OBSERVATION = RAYS + 2

_ANGLES = np.linspace(-1.4, 1.4, RAYS, dtype=np.float32)[:, None, None, None]
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
# Rays see the stretch of road around the car, not another arm of the track behind the verge.
_STRETCH = np.arange(-8, 36)
# More at once are slower: the arrays on the way are then so large that each is mapped anew by the kernel.
_AT_ONCE = 64
_SIDES = np.arange(2)[:, None] * BORDER_POINTS


def observe(lanes: Lanes, tracks: Tracks) -> Floats:
    """Observations (lanes, 15): speed, steering and rays as shares of their limits."""
    out = np.empty((len(lanes), OBSERVATION), np.float32)
    out[:, 0] = lanes.speed / MAX_SPEED
    out[:, 1] = lanes.steering / MAX_STEERING
    out[:, 2:] = cast(lanes, tracks) / RANGE
    return out


def cast(lanes: Lanes, tracks: Tracks) -> Floats:
    """Metres to the nearest border along each ray, at most RANGE: (lanes, 13), from right to left."""
    if len(lanes) <= _AT_ONCE:
        return _cast(lanes, tracks)
    parts = (np.arange(start, min(start + _AT_ONCE, len(lanes))) for start in range(0, len(lanes), _AT_ONCE))
    return np.concatenate([_cast(lanes.taken(part), tracks) for part in parts])


def _cast(lanes: Lanes, tracks: Tracks) -> Floats:
    """The same for so few lanes that what is worked out on the way stays in the processor's cache.

    A ray meets a border segment where the segment's ends lie on different sides of it. Few do, so the meeting
    point is worked out for those alone.
    """
    near = (lanes.station[:, None, None] // BORDER_STEP + _STRETCH) % BORDER_POINTS
    near = near + _SIDES + (lanes.track * 2 * BORDER_POINTS)[:, None, None]
    away_x = tracks.border_x.take(near) - lanes.x[:, None, None]  # (lanes, 2 sides, stretch)
    away_y = tracks.border_y.take(near) - lanes.y[:, None, None]
    cos, sin = np.cos(lanes.heading)[:, None, None], np.sin(lanes.heading)[:, None, None]
    forward, left = away_x * cos + away_y * sin, away_y * cos - away_x * sin
    beside = left * _COS  # (rays, lanes, 2 sides, stretch), positive left of the ray
    beside -= forward * _SIN
    is_right = np.signbit(beside)
    segment = np.flatnonzero(is_right[..., 1:] != is_right[..., :-1])

    line, point = np.divmod(segment, len(_STRETCH) - 1)  # line: which ray, lane and side
    ray_lane, ray = line // 2, line // (2 * len(lanes))
    first = line * len(_STRETCH) + point
    here = (line - ray * (2 * len(lanes))) * len(_STRETCH) + point
    cos, sin = _COS.ravel()[ray], _SIN.ravel()[ray]
    along = forward.take(here) * cos + left.take(here) * sin
    along_next = forward.take(here + 1) * cos + left.take(here + 1) * sin
    side, side_next = beside.take(first), beside.take(first + 1)
    distance = (along * side_next - along_next * side) / (side_next - side)

    nearest = np.full(RAYS * len(lanes), RANGE, np.float32)
    is_ahead = distance > 0
    np.minimum.at(nearest, ray_lane[is_ahead], distance[is_ahead])
    return nearest.reshape(RAYS, len(lanes)).T
