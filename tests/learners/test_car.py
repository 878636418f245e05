"""The vectorised car against the bicycle model written out for one car, and rays against geometry."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.driving import car, expert, rays
from learners.driving.car import Lanes
from learners.driving.family import FAMILIES
from learners.driving.rollout import EXPERT, laps
from learners.driving.score import held_out
from learners.driving.track import POINTS, Tracks, make_tracks, stack

TRACKS = stack(make_tracks(range(4), FAMILIES["medium"]))
share = st.floats(-1, 1, width=32)


def lanes_on(tracks: Tracks, count: int, seed: int = 3) -> Lanes:
    return car.start(tracks, np.arange(count) % len(tracks), np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(share, share), min_size=5, max_size=5), st.floats(0, 25, width=32))
def test_a_step_is_the_bicycle_model(actions: list[tuple[float, float]], speed: float) -> None:
    lanes = replace(lanes_on(TRACKS, 5), speed=np.full(5, speed, np.float32))
    moved = car.step(lanes, TRACKS, np.array(actions, np.float32))
    for lane, (steer, throttle) in enumerate(actions):
        x, y, heading, v, wheel = _bicycle(lanes, lane, steer, throttle)
        assert moved.speed[lane] == pytest.approx(v, abs=1e-4)
        assert moved.steering[lane] == pytest.approx(wheel, abs=1e-5)
        assert moved.heading[lane] == pytest.approx(heading, abs=1e-4)
        assert (moved.x[lane], moved.y[lane]) == pytest.approx((x, y), abs=1e-3)


def _bicycle(lanes: Lanes, lane: int, steer: float, throttle: float) -> tuple[float, ...]:
    wheel, v = float(lanes.steering[lane]), float(lanes.speed[lane])
    wheel += min(max(steer * 0.5 - wheel, -0.075), 0.075)
    v += ((4.0 if throttle > 0 else 8.0) * throttle - 0.02 * v) * 0.05
    v = min(max(v, 0.0), 25.0)
    friction = float(TRACKS.friction[lanes.track[lane]])
    turn, grip = v * math.tan(wheel) / 2.6, friction * 9.81 / max(v, 1.0)
    heading = float(lanes.heading[lane]) + min(max(turn, -grip), grip) * 0.05
    x = float(lanes.x[lane]) + v * math.cos(heading) * 0.05
    y = float(lanes.y[lane]) + v * math.sin(heading) * 0.05
    return x, y, heading, v, wheel


def test_the_nearest_point_is_never_lost() -> None:
    lanes = lanes_on(TRACKS, 4)
    for _ in range(200):
        lanes = car.step(lanes, TRACKS, expert.drive(lanes, TRACKS))
        away = np.hypot(TRACKS.x - lanes.x[:, None], TRACKS.y - lanes.y[:, None])
        assert np.array_equal(away.argmin(axis=1), lanes.station)
        assert np.allclose(away.min(axis=1), np.abs(lanes.offset), atol=0.6)  # half a spacing along the road


def test_travelled_metres_add_up_to_the_length_of_the_track() -> None:
    lanes = lanes_on(TRACKS, 4)
    begin = lanes.station.copy()
    while not car.has_lapped(lanes, TRACKS)[0]:
        lanes = car.step(lanes, TRACKS, expert.drive(lanes, TRACKS))
    assert min((lanes.station[0] - begin[0]) % POINTS, (begin[0] - lanes.station[0]) % POINTS) <= 2
    assert lanes.travelled[0] == pytest.approx(TRACKS.length[0], abs=2.0)


def test_a_car_beyond_the_border_is_off() -> None:
    lanes = lanes_on(TRACKS, 4)
    width = TRACKS.half_width
    assert not car.is_off(replace(lanes, offset=0.99 * width), TRACKS).any()
    assert car.is_off(replace(lanes, offset=-1.01 * width), TRACKS).all()


def _straight(half_width: float) -> Tracks:
    """A straight road along x, 2 m a point, which is all that rays look at."""
    along = np.arange(POINTS, dtype=np.float32) * 2
    zero, one = np.zeros(POINTS, np.float32), np.ones(POINTS, np.float32)
    edge = np.full(POINTS // 2, half_width, np.float32)
    return Tracks(
        x=along[None],
        y=zero[None],
        tangent_x=one[None],
        tangent_y=zero[None],
        curvature=zero[None],
        spacing=np.array([2.0], np.float32),
        half_width=np.array([half_width], np.float32),
        length=np.array([2.0 * POINTS], np.float32),
        friction=np.array([0.9], np.float32),
        border_x=np.stack([along[::2], along[::2]])[None],
        border_y=np.stack([edge, -edge])[None],
    )


@settings(deadline=None)
@given(st.floats(2, 8, width=32), st.floats(-0.9, 0.9), st.floats(-0.5, 0.5))
def test_rays_on_a_straight_road_follow_from_trigonometry(width: float, place: float, heading: float) -> None:
    tracks = _straight(width)
    y = place * width
    lanes = replace(
        lanes_on(tracks, 1),
        x=np.array([401.0], np.float32),
        y=np.array([y], np.float32),
        heading=np.array([heading], np.float32),
        station=np.array([200]),
    )
    seen = rays.cast(lanes, tracks)[0]
    for ray, angle in enumerate(np.linspace(-1.4, 1.4, 13)):
        rise = math.sin(heading + angle)
        reach = math.inf if rise == 0 else ((width if rise > 0 else -width) - y) / rise
        ahead = reach * math.cos(heading + angle)
        if -30 < ahead < 135:  # inside the stretch of road that rays see
            assert seen[ray] == pytest.approx(min(reach, 40.0), rel=2e-3, abs=2e-3)


def test_observations_are_shares_of_their_limits() -> None:
    lanes = lanes_on(TRACKS, 16)
    seen = rays.observe(lanes, TRACKS)
    assert seen.shape == (16, 15)
    assert seen.dtype == np.float32
    assert np.allclose(seen[:, 0] * car.MAX_SPEED, lanes.speed, atol=1e-4)
    assert (seen[:, 2:] > 0).all()
    assert (seen[:, 2:] <= 1).all()
    # On the road, the outermost rays meet the borders beside the car.
    assert (seen[:, 2] * rays.RANGE < 2.5 * TRACKS.half_width[lanes.track]).all()


def test_lanes_do_not_see_each_other() -> None:
    lanes = lanes_on(TRACKS, 12)
    seen = rays.observe(lanes, TRACKS)
    some = np.arange(12) % 3 == 0
    assert np.array_equal(rays.observe(lanes.keep(some), TRACKS), seen[some])


def test_the_expert_completes_every_lap_of_every_family() -> None:
    assert (laps(EXPERT, held_out(list(FAMILIES.values()), 12), seed=1) == 1.0).all()
