"""A peer's demonstrations on disk: one file a round, written whole, never changed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from learners import weights
from learners.driving.policy import ACTIONS
from learners.driving.rays import OBSERVATION
from learners.driving.track import Floats
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

    def __len__(self) -> int:
        return len(self.observations)


EMPTY = Demonstrations(np.zeros((0, OBSERVATION), np.float32), np.zeros((0, ACTIONS), np.float32))


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

    def until(self, round: Round) -> Demonstrations:
        """What was collected up to a round and in it, in order of rounds.

        So a restart, and whoever does the round again when later ones are over, trains on the same sequence.
        """
        turns = [self._rounds[each] for each in sorted(self._rounds) if each <= round] or [EMPTY]
        return Demonstrations(
            np.concatenate([turn.observations for turn in turns]),
            np.concatenate([turn.actions for turn in turns]),
        )

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
        return Demonstrations(found["observations"].numpy(), found["actions"].numpy())
    raise LearnerError(f"{path} is damaged; restore it from a backup, or delete it and lose its labels")
