"""A learner whose weights are how well each family is driven: what a run decides, at no cost of learning."""

from collections.abc import Sequence
from pathlib import Path

from learners.learner import Comparison, LearnerSpec, Merging, TensorSpec, Training
from protocol.ids import Ppm, Round

WHOLE = 1_000_000


def levels_of(blob: Path) -> list[int]:
    """Of each family, ppm."""
    return [int(word) for word in blob.read_text().split()]


class Levels:
    """The member of one family: a turn lifts its own by a step, and nothing of the others' is forgotten."""

    def __init__(self, family: int, families: int, step: int, has_public: bool = True) -> None:
        """has_public: whether it votes by all families alike where its own is left as it is."""
        self._family, self._families, self._step, self._has_public = family, families, step, has_public

    def describe(self) -> LearnerSpec:
        return LearnerSpec("levels", (TensorSpec("levels", (self._families,), "I64"),), "level/1")

    def initial(self, out: Path) -> None:
        out.write_text(" ".join("0" * self._families))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        levels = levels_of(head)
        levels[self._family] = min(WHOLE, levels[self._family] + self._step)
        out.write_text(" ".join(str(level) for level in levels))
        return Training(labels=1, labels_total=1, loss=0.0)

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        best = [max(each) for each in zip(*(levels_of(blob) for blob in (own, *updates)), strict=True)]
        out.write_text(" ".join(str(level) for level in best))
        return Merging((Ppm(WHOLE), *[Ppm(0)] * len(updates)))

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        levels = levels_of(head), levels_of(candidate)
        before, after = (each[self._family] for each in levels)
        if before == after and self._has_public:
            before, after = (sum(each) // self._families for each in levels)
        return Comparison(Ppm(before), Ppm(after), Ppm(after - before), error=Ppm(0), samples=100)
