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
    return Comparison(
        head=_ppm(before.mean()),
        candidate=_ppm(after.mean()),
        gain=_ppm(gains.mean()),
        error=_ppm(error),
        samples=len(gains),
    )


def _ppm(value: float) -> Ppm:
    return Ppm(round(float(value) * 1_000_000))
