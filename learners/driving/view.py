"""What a camera on a car shows of the track world: sky, verge, road, and a white line along each border.

The ground is flat and the camera level, so an image row shows one line across the ground. A road is a polygon; the
edges that cross that line say where it begins and ends (scanline filling), to a fraction of a pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.driving.car import Lanes
from learners.driving.track import BORDER_POINTS, BORDER_STEP, Floats, Tracks

Images = NDArray[np.uint8]
"""(n, height, width), grey."""

FIELD_OF_VIEW = math.radians(100)
"""From the left edge to the right one."""
EYE = 1.5
"""Metres of the camera above the ground."""
LINE = 0.3
"""Metres of white at either border of the road."""
SKY_SHARE = 0.125
"""Of the image's height; what is below shows ground."""
SKY, VERGE, ROAD, WHITE = 200, 120, 60, 250

_TOGETHER = 8
"""Lanes drawn at a time: what that takes stays in the processor's cache, and 64 are drawn in half the time."""
# As for the rays: the stretch of road around the car, not another arm of the track behind the verge.
_STRETCH = np.arange(-8, 36)
_SIDES = np.arange(2)[:, None] * BORDER_POINTS


@dataclass(frozen=True, slots=True)
class Camera:
    """A size of image, and what of the ground each pixel shows."""

    height: int
    width: int

    @property
    def focal(self) -> float:
        """Pixels."""
        return self.width / 2 / math.tan(FIELD_OF_VIEW / 2)

    @property
    def sky(self) -> int:
        """Rows above the horizon."""
        return math.ceil(self.height * SKY_SHARE)

    def ground(self) -> Floats:
        """Metres ahead of the car that the middle of each row below the horizon shows, far to near: (rows,)."""
        below = np.arange(self.height - self.sky) + 0.5
        return (EYE * self.focal / below).astype(np.float32)


def view(lanes: Lanes, tracks: Tracks, camera: Camera) -> Images:
    """What each car's camera shows: (lanes, height, width) uint8."""
    image = np.full((len(lanes), camera.height, camera.width), SKY, np.uint8)
    ahead, left = _polygons(lanes, tracks)
    for first in range(0, len(lanes), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        whole, inner = _covered(ahead[:, some], left[:, some], camera)
        whole *= WHITE - VERGE
        inner *= WHITE - ROAD
        whole -= inner
        whole += VERGE + 0.5  # the cast rounds down
        image[some, camera.sky :] = whole
    return image


def _polygons(lanes: Lanes, tracks: Tracks) -> tuple[Floats, Floats]:
    """The road with and without its lines as polygons, as the cars see them: metres ahead, metres left.

    Each is (2, lanes, corners), with lines first: up the left border and back down the right one.
    """
    near = (lanes.station[:, None, None] // BORDER_STEP + _STRETCH) % BORDER_POINTS
    near = near + _SIDES + (lanes.track * 2 * BORDER_POINTS)[:, None, None]
    away_x = tracks.border_x.take(near) - lanes.x[:, None, None]  # (lanes, 2 sides, stretch)
    away_y = tracks.border_y.take(near) - lanes.y[:, None, None]
    cos, sin = np.cos(lanes.heading)[:, None, None], np.sin(lanes.heading)[:, None, None]
    line = np.minimum(LINE / (2 * tracks.half_width[lanes.track]), 0.5)[:, None, None]

    def closed(sides: Floats) -> Floats:
        both = np.stack([sides, sides + (sides[:, ::-1] - sides) * line])
        return np.concatenate([both[:, :, 0], both[:, :, 1, ::-1]], axis=2)

    return closed(away_x * cos + away_y * sin), closed(away_y * cos - away_x * sin)


def _covered(ahead: Floats, left: Floats, camera: Camera) -> Floats:
    """The share of each pixel below the horizon that lies in each polygon: (2, lanes, rows, width).

    Going up an edge the inside begins at its right, going down it ends: the sum of those steps from the left is how
    often a place is covered. A step within a pixel is divided between it and the next.
    """
    corners, ground = ahead.shape[2], camera.ground()
    is_beyond = ahead[..., None] > ground  # (2, lanes, corners, rows)
    edge, row = np.divmod(np.flatnonzero(is_beyond ^ np.roll(is_beyond, -1, axis=2)), len(ground))
    polygon, corner = np.divmod(edge, corners)
    following = polygon * corners + (corner + 1) % corners
    here, there, beside = ahead.take(edge), ahead.take(following), left.take(edge)
    along = (ground[row] - here) / (there - here)
    beside += along * (left.take(following) - beside)
    column = (camera.width / 2 - camera.focal * beside / ground[row]).clip(0, camera.width)

    pixel = column.astype(np.int64)
    rest = column - pixel
    step = np.where(there > here, 1.0, -1.0)
    width = camera.width + 2  # a step at the right edge falls behind it
    place = (polygon * len(ground) + row) * width + pixel
    shape = (*ahead.shape[:2], len(ground), width)
    steps = np.bincount(
        np.concatenate([place, place + 1]),
        np.concatenate([step * (1 - rest), step * rest]),
        math.prod(shape),
    )
    covered = steps.astype(np.float32).reshape(shape)
    np.cumsum(covered, axis=3, out=covered)
    return covered[..., : camera.width].clip(0, 1)
