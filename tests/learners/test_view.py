"""The camera's view of the track world: what each pixel shows lies where geometry says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.driving.car import Lanes, start
from learners.driving.family import FAMILIES
from learners.driving.track import POINTS, Tracks, make_tracks, stack
from learners.driving.view import EYE, LINE, ROAD, SKY, VERGE, WHITE, Camera, view

CAMERA = Camera(32, 64)
HALF_WIDTH = 3.0
WINDING = stack([track for family in FAMILIES.values() for track in make_tracks(range(3), family)])


def _road(x: np.ndarray, y: np.ndarray) -> Tracks:
    """A road through (POINTS,) points, of which the last leads back to the first out of sight."""
    track = make_tracks(range(1), FAMILIES["medium"])[0]
    heading = np.arctan2(np.gradient(y), np.gradient(x))
    own = replace(
        track, x=x, y=y, tangent_x=np.cos(heading), tangent_y=np.sin(heading), half_width=HALF_WIDTH
    )
    return stack([own])


def _bend(radius: float) -> Tracks:
    """An arc from the origin, eastwards; to the left if the radius is positive."""
    angle = np.arange(POINTS) / radius
    return _road(radius * np.sin(angle), radius * (1 - np.cos(angle)))


STRAIGHT = _road(np.arange(POINTS, dtype=float), np.zeros(POINTS))


def _at(tracks: Tracks, offset: float = 0.0, askew: float = 0.0) -> Lanes:
    """One car at point 20, so many metres left of the centreline, turned to the left by so much."""
    one = start(tracks, np.zeros(1, np.int64), np.random.default_rng(0))
    station = np.array([20])
    along_x, along_y = tracks.tangent_x[0, station], tracks.tangent_y[0, station]
    return replace(
        one,
        station=station,
        x=tracks.x[0, station] - along_y * np.float32(offset),
        y=tracks.y[0, station] + along_x * np.float32(offset),
        heading=np.arctan2(along_y, along_x) + np.float32(askew),
    )


def _seen(tracks: Tracks, offset: float = 0.0, askew: float = 0.0) -> np.ndarray:
    return view(_at(tracks, offset, askew), tracks, CAMERA)[0].astype(int)


def test_a_straight_road_is_symmetric_and_as_wide_as_it_is() -> None:
    image = _seen(STRAIGHT)
    assert (image[: CAMERA.sky] == SKY).all()
    assert np.abs(image - image[:, ::-1]).max() <= 1
    for row in range(CAMERA.sky + 2, 14):  # where both verges can be seen
        ahead = EYE * CAMERA.focal / (row + 0.5 - CAMERA.sky)
        border = CAMERA.width / 2 - CAMERA.focal * HALF_WIDTH / ahead
        painted = CAMERA.width / 2 - CAMERA.focal * (HALF_WIDTH - LINE) / ahead
        assert (image[row, : int(border)] == VERGE).all()
        assert image[row, int(border)] > VERGE
        assert (image[row, int(painted) + 1 : CAMERA.width // 2] == ROAD).all()
        # Antialiasing loses nothing: the row's brightness is that of its parts.
        parts = VERGE * border + WHITE * (painted - border) + ROAD * (CAMERA.width / 2 - painted)
        assert image[row, : CAMERA.width // 2].sum() == pytest.approx(parts, abs=2)


@given(st.floats(-2.5, 2.5), st.floats(-0.6, 0.6))
@settings(max_examples=25, deadline=None)
def test_the_other_side_of_a_straight_road_is_its_mirror_image(offset: float, askew: float) -> None:
    image, mirrored = _seen(STRAIGHT, offset, askew), _seen(STRAIGHT, -offset, -askew)
    assert np.abs(image - mirrored[:, ::-1]).max() <= 1


def test_a_car_left_of_the_middle_sees_more_verge_on_the_left() -> None:
    verge = _seen(STRAIGHT, offset=1.0) == VERGE
    half = CAMERA.width // 2
    assert verge[:, :half].sum() > verge[:, half:].sum() + 20


def test_a_car_turned_to_the_left_sees_the_road_go_to_the_right() -> None:
    assert _middle_of_the_road(_seen(STRAIGHT, askew=0.2)) > CAMERA.width / 2 + 4


@pytest.mark.parametrize("size", [(32, 64), (66, 200)])
def test_a_bend_to_the_left_appears_on_the_left(size: tuple[int, int]) -> None:
    camera = Camera(*size)
    left, right = (view(_at(_bend(r)), _bend(r), camera)[0] for r in (25.0, -25.0))
    assert _middle_of_the_road(left, camera) < 0.4 * camera.width
    assert np.abs(left.astype(int) - right[:, ::-1]).max() <= 1


def _middle_of_the_road(image: np.ndarray, camera: Camera = CAMERA) -> float:
    """The mean column of road about 13 m ahead."""
    row = camera.sky + round(EYE * camera.focal / 13)
    return float(np.flatnonzero(image[row] < VERGE - 10).mean())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_every_pixel_shows_what_lies_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lanes = start(WINDING, rng.integers(0, len(WINDING), 11), rng)
    images = view(lanes, WINDING, CAMERA)
    ahead = CAMERA.ground()
    rows = np.flatnonzero((ahead < 20) & (ahead > 2.5))
    columns = np.arange(CAMERA.width) + 0.5
    for lane, image in enumerate(images):
        track = lanes.track[lane]
        forward = ahead[rows][:, None]
        left = (CAMERA.width / 2 - columns) / CAMERA.focal * forward
        cos, sin = np.cos(lanes.heading[lane]), np.sin(lanes.heading[lane])
        x, y = lanes.x[lane] + forward * cos - left * sin, lanes.y[lane] + forward * sin + left * cos
        # Only the road about the car: elsewhere another arm of the track may come near.
        points = (lanes.station[lane] + np.arange(-16, 70)) % POINTS
        away = np.hypot(x[..., None] - WINDING.x[track, points], y[..., None] - WINDING.y[track, points])
        distance, beyond = away.min(axis=-1), away.argmin(axis=-1)
        is_known = (beyond > 0) & (beyond < len(points) - 1) & (np.abs(left) < 20)
        blur = 0.4 + forward / CAMERA.focal  # points and pixels are coarse
        shown = image[rows + CAMERA.sky]
        half_width = WINDING.half_width[track]
        assert (shown[is_known & (distance < half_width - LINE - blur)] == ROAD).all()
        assert (shown[is_known & (distance > half_width + blur)] == VERGE).all()


def test_lanes_are_drawn_alike_alone_and_together() -> None:
    lanes = start(WINDING, np.arange(13), np.random.default_rng(1))
    together = view(lanes, WINDING, CAMERA)
    assert together.shape == (13, 32, 64)
    for lane in range(13):
        alone = view(lanes.keep(np.arange(13) == lane), WINDING, CAMERA)
        assert np.array_equal(alone[0], together[lane])
