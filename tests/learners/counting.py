"""A learner for runs of real daemons that costs nothing: weights are one number, and more is better.

A configuration names it as `tests.learners.counting:Counting`; its processes find it through PYTHONPATH.
"""

import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from learners.files import write_whole
from learners.learner import BadWeights, Comparison, LearnerSpec, TensorSpec, Training
from protocol.ids import Ppm, Round

NAME = "tests.learners.counting:Counting"
PPM_EACH = 50_000
"""What one more is worth."""


def spec(scorer: str = "count/1") -> LearnerSpec:
    """The public spec; the option `scorer` makes another one of it, for the same weights."""
    return LearnerSpec("counting", (TensorSpec("number", (1,), "F64"),), scorer)


class Counting:
    """Options: `scorer`, see `spec`; `pause` and `doubt`, seconds for which it trains, and compares."""

    def __init__(self, options: Mapping[str, object], data: Path) -> None:
        self._scorer = str(options.get("scorer", "count/1"))
        self._pause = float(str(options.get("pause", 0)))
        self._doubt = float(str(options.get("doubt", 0)))
        self._turns = 0

    def describe(self) -> LearnerSpec:
        return spec(self._scorer)

    def initial(self, out: Path) -> None:
        write_whole(out, struct.pack("<d", 0.0))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        time.sleep(self._pause)
        write_whole(out, struct.pack("<d", number_in(head) + 1))
        self._turns += 1
        return Training(labels=1, labels_total=self._turns, loss=0.0)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        time.sleep(self._doubt)
        gain = int(PPM_EACH * (number_in(candidate) - number_in(head)))
        gain = max(-1_000_000, min(1_000_000, gain))
        return Comparison(Ppm(0), Ppm(gain), Ppm(gain), Ppm(0), 16)

    def adopt(self, head: Path, round: Round) -> None:
        number_in(head)


def number_in(weights: Path) -> float:
    """The one number. Raises BadWeights unless it is alone and finite."""
    data = weights.read_bytes()
    if len(data) != 8:
        raise BadWeights(f"{len(data)} bytes, where 8 are one number")
    (number,) = struct.unpack("<d", data)
    if not math.isfinite(number):
        raise BadWeights("values that are not finite")
    return float(number)
