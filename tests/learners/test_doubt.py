"""An ensemble is sure where it was shown what to do, and labels go where it is not."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.driving.asking import ask
from learners.driving.dagger import collect
from learners.driving.dataset import EMPTY
from learners.driving.doubt import DRAWN, collect_by_doubt, fit_ensemble
from learners.driving.family import FAMILIES
from learners.driving.options import Asking
from learners.driving.policy import initial_weights, policy_of, tensor_specs
from learners.driving.track import Floats, make_tracks, stack

TRACKS = {name: stack(make_tracks(range(6), family)) for name, family in FAMILIES.items()}
POLICY = policy_of(initial_weights(tensor_specs(16)))


@pytest.mark.parametrize("own", ["gentle-wide", "gentle-narrow", "medium"])
def test_doubt_is_higher_on_unseen_families(own: str) -> None:
    ensemble = fit_ensemble(collect(None, TRACKS[own], 300, seed=1), seed=1)
    at_home = ensemble.doubt(collect(None, TRACKS[own], 500, seed=2).observations).mean()
    abroad = ensemble.doubt(collect(None, TRACKS["tight-narrow"], 500, seed=2).observations).mean()
    assert abroad > 1.5 * at_home


def test_doubt_falls_with_labels() -> None:
    elsewhere = collect(None, TRACKS["medium"], 500, seed=3).observations
    few, many = (fit_ensemble(collect(None, TRACKS["medium"], count, seed=4), seed=4) for count in (60, 2000))
    assert many.doubt(elsewhere).mean() < 0.5 * few.doubt(elsewhere).mean()


def test_members_answer_what_they_were_shown() -> None:
    known = collect(None, TRACKS["medium"], 1000, seed=5)
    answers = fit_ensemble(known, seed=5).answers(known.observations)
    assert answers.shape == (5, 1000, 2)
    spread = known.actions.std(axis=0)
    assert (np.abs(answers.mean(axis=0) - known.actions).mean(axis=0) < 0.5 * spread).all()


@settings(max_examples=10, deadline=None)
@given(labels=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_an_ensemble_is_finite_and_a_function_of_labels_and_seed(labels: int, seed: int) -> None:
    known = collect(None, TRACKS["medium"], 40, seed=6).at(np.arange(labels))
    one, other = fit_ensemble(known, seed), fit_ensemble(known, seed)
    unseen = np.linspace(-1, 1, 4 * 15, dtype=np.float32).reshape(4, 15)
    assert np.array_equal(one.doubt(unseen), other.doubt(unseen))
    assert np.isfinite(one.doubt(unseen)).all()
    assert (one.doubt(unseen) >= 0).all()


@pytest.mark.parametrize("labels", [1, 7, 250, 900])
def test_doubt_asks_for_the_budget_and_pays_for_no_state_twice(labels: int) -> None:
    ensemble = fit_ensemble(collect(None, TRACKS["medium"], 100, seed=7), seed=7)
    seen = collect_by_doubt(POLICY, ensemble, TRACKS["medium"], labels, seed=8)
    again = collect_by_doubt(POLICY, ensemble, TRACKS["medium"], labels, seed=8)
    assert len(seen) == labels == len(np.unique(seen.observations, axis=0))
    assert np.array_equal(seen.observations, again.observations)
    assert not seen.taken_over().any()


def test_labels_go_where_the_doubt_is_and_some_elsewhere() -> None:
    ensemble = fit_ensemble(collect(None, TRACKS["medium"], 100, seed=9), seed=9)
    doubt = ensemble.doubt(collect_by_doubt(POLICY, ensemble, TRACKS["medium"], 200, seed=10).observations)
    drawn, doubtful = doubt[: int(200 * DRAWN)], doubt[int(200 * DRAWN) :]
    assert doubtful.min() >= np.quantile(drawn, 0.5)
    assert doubtful.mean() > 1.2 * drawn.mean()


WAYS: tuple[Asking, ...] = get_args(Asking)


def _silly(observations: Floats) -> Floats:
    return np.zeros((len(observations), 2), np.float32)


def test_the_first_labels_are_the_experts_driving_however_they_are_asked_for() -> None:
    tracks, known = TRACKS["medium"], collect(None, TRACKS["medium"], 50, seed=11)
    expected = collect(None, tracks, 50, seed=12)
    for way in WAYS:
        assert np.array_equal(ask(way, None, tracks, 50, 12, known).observations, expected.observations)
    drawn, undoubted = (ask(way, _silly, tracks, 50, 12, EMPTY) for way in ("drawn", "doubt"))
    assert np.array_equal(drawn.observations, undoubted.observations)
    ways = {way: ask(way, _silly, tracks, 50, 12, known) for way in WAYS}
    shares = {way: float(found.taken_over().mean()) for way, found in ways.items()}
    assert shares == {"drawn": 0.0, "doubt": 0.0, "gated": 1.0, "mixed": 0.5}
    assert {len(found) for found in ways.values()} == {50}
