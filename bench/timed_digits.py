"""The digits learner with a stopwatch: when each turn of training and each comparison began and ended."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from learners.digits.learner import DigitsLearner
from learners.learner import Comparison, Training
from protocol.ids import Round

TIMES = "times.jsonl"
"""In the learner's data folder: one JSON list a call, what and which round, its begin and end, ns."""


class TimedDigits(DigitsLearner):
    """Does what its base does, and notes when."""

    def __init__(self, options: Mapping[str, object], data: Path) -> None:
        super().__init__(options, data)
        data.mkdir(parents=True, exist_ok=True)
        self._times = (data / TIMES).open("a", buffering=1)

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        began = time.time_ns()
        try:
            return super().propose(head, round, out)
        finally:
            self._note("train", round, began)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        began = time.time_ns()
        try:
            return super().score(head, candidate, round)
        finally:
            self._note("score", round, began)

    def _note(self, what: str, round: Round, began: int) -> None:
        self._times.write(json.dumps([what, round, began, time.time_ns()]) + "\n")
