"""The 1,797 handwritten digits that come with scikit-learn, divided among peers."""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from learners.learner import LearnerError

PIXELS = 64
CLASSES = 10
_DARKEST = 16.0
_FILE = Path("datasets", "data", "digits.csv.gz")


@dataclass(frozen=True, slots=True)
class Digits:
    """Images and what they show."""

    images: Tensor
    """(n, 64) float32 in [0, 1]."""
    labels: Tensor
    """(n,) int64 in 0..9."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Share:
    """One peer's images: 60% to train on, 20% to vote on, 20% that are shown to no learner."""

    training: Digits
    validation: Digits
    test: Digits


def share_of(learner: int, of: int, seed: int) -> Share:
    """One of `of` shares, drawn alike and of equal size but for one image. Raises LearnerError."""
    every = _read()
    mine = np.array_split(np.random.RandomState(seed).permutation(len(every)), of)[learner]
    first, second = int(0.6 * len(mine)), int(0.8 * len(mine))
    if not 0 < first < second:
        raise LearnerError(f"{of} shares of {len(every)} images leave some part empty; ask for fewer")
    parts = [torch.from_numpy(rows) for rows in (mine[:first], mine[first:second], mine[second:])]
    return Share(*(Digits(every.images[rows], every.labels[rows]) for rows in parts))


def _read() -> Digits:
    # The package is found, not imported: it would bring scipy along, for a table of numbers.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise LearnerError("the images are not here; install roundabout-learning[digits]")
    with gzip.open(Path(package.origin).parent / _FILE, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return Digits(
        torch.from_numpy(table[:, :PIXELS] / np.float32(_DARKEST)),
        torch.from_numpy(table[:, PIXELS].astype(np.int64)),
    )
