"""A paired comparison from one number per sample: how every score of ours becomes a vote (SPEC.md, choice_for)."""

import numpy as np
from numpy.typing import NDArray

from learners.learner import Comparison
from protocol.ids import Ppm


def paired(before: NDArray[np.float64], after: NDArray[np.float64]) -> Comparison:
    """The comparison of a head and a candidate, scored on the same samples in the same order.

    before, after: (samples,) in [0, 1], higher is better.
    """
    gains = after - before
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 1.0
    return _comparison(before, after, float(error))


def paired_by(
    clusters: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64]
) -> Comparison:
    """As `paired`, where samples of one cluster (frames of a drive, laps of a track) resemble each other.

    Counted as independent they would make the error too small: a hundred frames of one bend say little more than
    ten. The error is the cluster-robust one of a mean (Liang and Zeger 1986), and 1 where there is a single cluster.
    clusters: (samples,), the same number for the samples of a cluster; before, after: as for `paired`.
    """
    gains = after - before
    _, cluster = np.unique(clusters, return_inverse=True)
    sums = np.bincount(cluster, gains - gains.mean())
    count = len(sums)
    error = np.sqrt(np.square(sums).sum() * count / (count - 1)) / len(gains) if count > 1 else 1.0
    return _comparison(before, after, float(error))


def _comparison(before: NDArray[np.float64], after: NDArray[np.float64], error: float) -> Comparison:
    gains = after - before
    return Comparison(
        head=_ppm(before.mean()),
        candidate=_ppm(after.mean()),
        gain=_ppm(gains.mean()),
        error=_ppm(error),
        samples=len(gains),
    )


def _ppm(value: float) -> Ppm:
    return Ppm(round(float(value) * 1_000_000))
