"""A learner for tests of the process it lives in: it does what the text in the head's file says."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from learners.learner import BadWeights, Comparison, LearnerError, LearnerSpec, Merging, TensorSpec, Training
from learners.wanted import check_wanted
from protocol.ids import Ppm, Round


class Plain:
    """`head` holds a word: what to do when asked to propose."""

    def __init__(self, options: Mapping[str, object], data: Path) -> None:
        if "wrong" in options:
            raise LearnerError("option 'wrong' is wrong; remove it")
        if "crash" in options:
            sys.stderr.write("no more memory\n")
            sys.stderr.flush()
            os._exit(3)
        sys.stdout.write("libraries print, too\n")
        self._options, self._data = options, data

    def describe(self) -> LearnerSpec:
        names = tuple(f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("RB_"))
        return LearnerSpec("stub", tuple(TensorSpec(name, (1, 2), "F32") for name in names), "none/1")

    def initial(self, out: Path) -> None:
        out.write_bytes(b"initial")

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        match head.read_text():
            case "die":
                sys.stderr.write("that was my last word\n")
                sys.stderr.flush()
                os._exit(7)
            case "hang":
                out.write_text(str(os.getpid()))
                time.sleep(600)
            case "toil":
                out.write_text(str(os.getpid()))
                while True:
                    check_wanted()
                    time.sleep(0.01)
            case "bug":
                raise RuntimeError("a bug of ours")
            case "refuse":
                raise LearnerError("no data for this round; drive some more")
            case "bad":
                raise BadWeights("tensor 'x' holds values that are not finite")
        out.write_text(f"round {round} in {self._data.name}")
        return Training(labels=250, labels_total=500, loss=0.25)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        return Comparison(Ppm(1), Ppm(-2), Ppm(-3), Ppm(4), 5)


class Stub(Plain):
    """The same, and it wants to know of each new head, and merges."""

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        out.write_text("+".join(path.read_text() for path in (head, own, *updates)))
        return Merging((Ppm(400_000), *[Ppm(600_000 // len(updates))] * len(updates)))

    def adopt(self, head: Path, round: Round) -> None:
        head.with_name("adopted").write_text(f"round {round}")
