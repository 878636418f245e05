"""Procedural tracks: a circle bent by harmonics, resampled evenly, with a border on either side."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.driving.family import Family
from learners.learner import LearnerError

POINTS = 400
"""Points of every centreline."""
BORDER_STEP = 2
"""Every how many centreline points a border has one."""
BORDER_POINTS = POINTS // BORDER_STEP
MAX_ATTEMPTS = 2000
"""Draws after which a family counts as impossible; the hardest named family needs some tens."""
MAX_PEER = 2**32
MAX_TRACKS = 4096

_DRAWN = 2000  # points of the curve before it is resampled
_CLEARANCE = 2.0  # metres between the inner border and the centre of the sharpest bend

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Track:
    """One closed track. Arrays are (POINTS,) float64, in driving order, metres."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    tangent_x: NDArray[np.float64]
    tangent_y: NDArray[np.float64]
    curvature: NDArray[np.float64]
    """Signed, 1/m; positive bends to the left."""
    half_width: float
    length: float
    friction: float

    def borders(self) -> NDArray[np.float64]:
        """Left and right border: (2 sides, BORDER_POINTS, 2 coordinates)."""
        centre = np.stack([self.x, self.y], axis=-1)[::BORDER_STEP]
        left = np.stack([-self.tangent_y, self.tangent_x], axis=-1)[::BORDER_STEP] * self.half_width
        return np.stack([centre + left, centre - left])


@dataclass(frozen=True, slots=True)
class Tracks:
    """Several tracks side by side, as the simulation reads them: float32, first axis the track."""

    x: Floats
    y: Floats
    tangent_x: Floats
    tangent_y: Floats
    curvature: Floats
    spacing: Floats
    """(tracks,): metres between two centreline points."""
    half_width: Floats
    length: Floats
    friction: Floats
    border_x: Floats
    """(tracks, 2 sides, BORDER_POINTS)."""
    border_y: Floats

    def __len__(self) -> int:
        return len(self.length)


def training_seeds(peer: int, count: int) -> range:
    """The seeds of a peer's training tracks; no other peer and no other purpose shares them."""
    return _seeds(1, peer, count)


def validation_seeds(peer: int, count: int) -> range:
    """The seeds of a peer's validation tracks."""
    return _seeds(2, peer, count)


def held_out_seeds(count: int) -> range:
    """The seeds of the public tracks that nobody trains or votes on."""
    return _seeds(0, 0, count)


def rehearsal_seeds() -> range:
    """The seeds of the public tracks that peers may drive as they like."""
    return _seeds(3, 0, MAX_TRACKS)


def _seeds(purpose: int, peer: int, count: int) -> range:
    if not 0 <= peer < MAX_PEER or not 0 < count <= MAX_TRACKS:
        raise LearnerError(f"a peer's seed is 0..{MAX_PEER - 1} and it has 1..{MAX_TRACKS} tracks of a kind")
    first = (purpose * MAX_PEER + peer) * MAX_TRACKS
    return range(first, first + count)


def make_track(seed: int, family: Family) -> Track:
    """The track that a seed stands for in a family; always the same one.

    Raises LearnerError when the family's numbers leave no drivable track.
    """
    rng = np.random.default_rng(seed)
    for _ in range(MAX_ATTEMPTS):
        radius = rng.uniform(*family.radius)
        shape = _bent_circle(rng, family)
        is_clockwise = bool(rng.random() < 0.5)
        half_width = float(rng.uniform(*family.half_width))
        if shape.min() <= 0.25:
            continue
        track = _resampled(shape * radius, half_width, is_clockwise, family.friction)
        if np.abs(track.curvature).max() < 1 / (half_width + _CLEARANCE):
            return track
    raise LearnerError(
        f"track family {family.name!r} gave no drivable track in {MAX_ATTEMPTS} draws; "
        "lower its amplitude or harmonics, or raise its radius"
    )


def make_tracks(seeds: Iterable[int], family: Family) -> list[Track]:
    """The tracks of several seeds of one family."""
    return [make_track(seed, family) for seed in seeds]


def stack(tracks: list[Track]) -> Tracks:
    """Tracks side by side."""
    borders = np.stack([track.borders() for track in tracks]).astype(np.float32)

    def column(name: str) -> Floats:
        return np.array([getattr(track, name) for track in tracks], dtype=np.float32)

    return Tracks(
        x=column("x"),
        y=column("y"),
        tangent_x=column("tangent_x"),
        tangent_y=column("tangent_y"),
        curvature=column("curvature"),
        spacing=np.divide(column("length"), POINTS, dtype=np.float32),
        half_width=column("half_width"),
        length=column("length"),
        friction=column("friction"),
        border_x=np.ascontiguousarray(borders[..., 0]),
        border_y=np.ascontiguousarray(borders[..., 1]),
    )


def _bent_circle(rng: np.random.Generator, family: Family) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, _DRAWN, endpoint=False)
    shape = np.ones_like(angle)
    for k in range(2, family.harmonics + 1):
        strength = family.amplitude * rng.uniform(0.2, 1.0) / k
        shape += strength * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return shape


def _resampled(radius: NDArray[np.float64], half_width: float, is_clockwise: bool, friction: float) -> Track:
    """The closed curve r(angle) as POINTS points, evenly spaced along it."""
    angle = np.linspace(0, 2 * np.pi, _DRAWN, endpoint=False)
    curve = np.stack([radius * np.cos(angle), radius * np.sin(angle)])
    if is_clockwise:
        curve = curve[:, ::-1]
    closed = np.concatenate([curve, curve[:, :1]], axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=1)))])
    length = float(travelled[-1])
    at = np.linspace(0, length, POINTS, endpoint=False)
    x, y = np.interp(at, travelled, closed[0]), np.interp(at, travelled, closed[1])
    ahead_x, ahead_y = np.roll(x, -1) - np.roll(x, 1), np.roll(y, -1) - np.roll(y, 1)
    norm = np.hypot(ahead_x, ahead_y)
    heading = np.arctan2(ahead_y, ahead_x)
    turn = np.roll(heading, -1) - np.roll(heading, 1)
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return Track(
        x=x,
        y=y,
        tangent_x=ahead_x / norm,
        tangent_y=ahead_y / norm,
        curvature=turn * POINTS / (2 * length),
        half_width=half_width,
        length=length,
        friction=friction,
    )
