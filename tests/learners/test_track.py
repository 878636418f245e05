"""Tracks are closed, even, drivable, reproducible, and never shared between purposes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.driving.family import FAMILIES, Family
from learners.driving.track import (
    POINTS,
    held_out_seeds,
    make_track,
    stack,
    training_seeds,
    validation_seeds,
)
from learners.learner import LearnerError

families = st.sampled_from(list(FAMILIES.values()))


@settings(max_examples=40, deadline=None)
@given(families, st.integers(0, 2**48))
def test_a_track_is_closed_and_evenly_spaced(family: Family, seed: int) -> None:
    track = make_track(seed, family)
    gaps = np.hypot(np.roll(track.x, -1) - track.x, np.roll(track.y, -1) - track.y)
    assert gaps.sum() == pytest.approx(track.length, rel=0.01)
    assert gaps.max() < 1.02 * track.length / POINTS
    assert gaps.min() > 0.9 * track.length / POINTS  # a chord is shorter than its arc


@settings(max_examples=40, deadline=None)
@given(families, st.integers(0, 2**48))
def test_a_car_fits_through_every_bend(family: Family, seed: int) -> None:
    track = make_track(seed, family)
    assert family.half_width[0] <= track.half_width <= family.half_width[1]
    assert np.abs(track.curvature).max() * (track.half_width + 2.0) < 1
    # Once around turns the heading once: the curve does not cross itself.
    assert abs((track.curvature * track.length / POINTS).sum()) == pytest.approx(2 * np.pi, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(families, st.integers(0, 2**48))
def test_borders_lie_half_a_width_from_the_centreline(family: Family, seed: int) -> None:
    track = make_track(seed, family)
    left, right = track.borders()
    across = left - right
    assert np.allclose(np.hypot(across[:, 0], across[:, 1]), 2 * track.half_width)
    ahead = np.stack([track.tangent_x, track.tangent_y], axis=-1)[::2]
    turn = ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0]
    assert (turn > 0).all()  # left is left of the driving direction


def test_a_seed_always_gives_the_same_track() -> None:
    family = FAMILIES["medium"]
    first, again, other = make_track(5, family), make_track(5, family), make_track(6, family)
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)


def test_half_of_the_tracks_run_clockwise() -> None:
    signs = [np.sign(make_track(seed, FAMILIES["gentle-wide"]).curvature.sum()) for seed in range(60)]
    assert 15 < sum(sign > 0 for sign in signs) < 45


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(1, 4096), st.integers(1, 4096))
def test_no_seed_serves_two_purposes_or_two_peers(one: int, other: int, count: int, others: int) -> None:
    def disjoint(a: range, b: range) -> bool:
        return a[-1] < b[0] or b[-1] < a[0]

    assert disjoint(training_seeds(one, count), validation_seeds(other, others))
    assert disjoint(training_seeds(one, count), held_out_seeds(others))
    assert disjoint(validation_seeds(one, count), held_out_seeds(others))
    if one != other:
        assert disjoint(training_seeds(one, count), training_seeds(other, others))
        assert disjoint(validation_seeds(one, count), validation_seeds(other, others))


def test_an_impossible_family_is_refused_in_one_line() -> None:
    knot = Family("knot", (10.0, 12.0), 12, 1.0, (5.0, 6.0))
    with pytest.raises(LearnerError, match=r"'knot' gave no drivable track in \d+ draws; lower"):
        make_track(1, knot)


def test_stacked_tracks_are_the_tracks() -> None:
    tracks = [make_track(seed, FAMILIES["medium"]) for seed in range(3)]
    side_by_side = stack(tracks)
    assert len(side_by_side) == 3
    assert np.allclose(side_by_side.x[2], tracks[2].x, atol=1e-4)
    assert np.allclose(side_by_side.border_x[1, 1], tracks[1].borders()[1, :, 0], atol=1e-4)
    assert side_by_side.spacing[0] == pytest.approx(tracks[0].length / POINTS, rel=1e-5)
