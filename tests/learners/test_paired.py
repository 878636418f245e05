"""Paired comparisons of samples that resemble each other: the error is that of what is independent."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learners.paired import paired, paired_by


def _scores(seed: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(samples), rng.random(samples)


@given(st.integers(0, 2**32), st.integers(2, 40))
def test_clusters_of_one_sample_are_no_clusters(seed: int, samples: int) -> None:
    before, after = _scores(seed, samples)
    assert paired_by(np.arange(samples)[::-1], before, after) == paired(before, after)


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 50))
def test_saying_the_same_again_makes_nothing_surer(seed: int, samples: int, times: int) -> None:
    before, after = _scores(seed, samples)
    once = paired(before, after)
    again = paired_by(np.arange(samples).repeat(times), before.repeat(times), after.repeat(times))
    assert abs(again.error - once.error) <= 1
    assert abs(again.gain - once.gain) <= 1
    assert again.samples == samples * times


def test_the_error_is_right_on_average_where_clusters_resemble_themselves() -> None:
    rng = np.random.default_rng(1)
    clusters = np.arange(20).repeat(50)
    gains, errors, naive = [], [], []
    for _ in range(400):
        after = 0.5 + 0.02 * rng.standard_normal(20)[clusters] + 0.05 * rng.standard_normal(len(clusters))
        before = np.full(len(clusters), 0.5)
        seen = paired_by(clusters, before, after)
        gains.append(seen.gain)
        errors.append(seen.error)
        naive.append(paired(before, after).error)
    assert 0.9 < np.mean(errors) / np.std(gains) < 1.1
    assert np.mean(naive) / np.std(gains) < 0.5


def test_one_cluster_says_nothing() -> None:
    before, after = _scores(3, 100)
    assert paired_by(np.zeros(100, np.int64), before, after).error == 1_000_000
