"""A peer's demonstrations on disk: one file a round, written whole, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from learners import weights
from learners.driving.car import Bools
from learners.driving.policy import ACTIONS
from learners.driving.rays import OBSERVATION
from learners.driving.track import Floats, Ints
from learners.files import write_whole
from learners.learner import BadWeights, LearnerError, TensorSpec
from protocol.ids import Round


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Labelled states: what the expert would have done where the policy came to be."""

    observations: Floats
    """(labels, 15)."""
    actions: Floats
    """(labels, 2)."""
    interventions: Bools
    """(labels,): whether the expert had taken the wheel from the policy, rather than was asked."""

    def __len__(self) -> int:
        return len(self.observations)

    def at(self, rows: Ints) -> "Demonstrations":
        """Only these rows, in their order."""
        return Demonstrations(self.observations[rows], self.actions[rows], self.interventions[rows])


def labelled(observations: Floats, actions: Floats) -> Demonstrations:
    """States for which the expert was asked what it would do, while another drove."""
    return Demonstrations(observations, actions, np.zeros(len(observations), np.bool_))


def joined(parts: Sequence[Demonstrations]) -> Demonstrations:
    """One after the other; one part at least."""
    return Demonstrations(
        np.concatenate([part.observations for part in parts]),
        np.concatenate([part.actions for part in parts]),
        np.concatenate([part.interventions for part in parts]),
    )


EMPTY = labelled(np.zeros((0, OBSERVATION), np.float32), np.zeros((0, ACTIONS), np.float32))


class Dataset:
    """What a peer has been shown so far. Its folder is private and outlives the process."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, and read what earlier processes left. Raises LearnerError on a damaged file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rounds = {_round_of(path): _read(path) for path in sorted(folder.glob("round-*.safetensors"))}

    def of(self, round: Round) -> Demonstrations | None:
        """What was collected in a round, or None. A turn taken again reuses it: labels are not free."""
        return self._rounds.get(round)

    def append(self, round: Round, demonstrations: Demonstrations) -> None:
        """Keep a round's demonstrations; they are on disk when this returns."""
        if round in self._rounds:
            raise ValueError(f"round {round} has its demonstrations already")
        tensors = {
            "actions": torch.from_numpy(demonstrations.actions),
            "observations": torch.from_numpy(demonstrations.observations),
        }
        write_whole(self._folder / f"round-{round:09d}.safetensors", weights.dump(tensors))
        self._rounds[round] = demonstrations

    def all(self) -> Demonstrations:
        """Everything, in order of rounds, so that a restart trains on the same sequence."""
        return joined([self._rounds[round] for round in sorted(self._rounds)] or [EMPTY])

    def __len__(self) -> int:
        return sum(len(turn) for turn in self._rounds.values())


def _round_of(path: Path) -> Round:
    digits = path.name.removeprefix("round-").removesuffix(".safetensors")
    if not digits.isdecimal():
        raise LearnerError(f"{path} is not a file of demonstrations; move it out of the data folder")
    return Round(int(digits))


def _read(path: Path) -> Demonstrations:
    # The header is longer for more labels: find the count that gives this size, rather than trust the file.
    size = path.stat().st_size
    row = 4 * (OBSERVATION + ACTIONS)
    for labels in range(size // row, max(0, size // row - 8), -1):
        specs = (
            TensorSpec("actions", (labels, ACTIONS), "F32"),
            TensorSpec("observations", (labels, OBSERVATION), "F32"),
        )
        try:
            found = weights.load_tensors(path, specs)
        except BadWeights:
            continue
        return labelled(found["observations"].numpy(), found["actions"].numpy())
    raise LearnerError(f"{path} is damaged; restore it from a backup, or delete it and lose its labels")
