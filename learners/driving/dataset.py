"""A peer's demonstrations, turn by turn, in a folder of the kind that docs/data.md describes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learners import weights
from learners.data import dataset as data
from learners.data.episode import MAX_FRAMES, Episode, Features
from learners.driving.car import STEP_SECONDS
from learners.driving.policy import ACTIONS
from learners.driving.rays import OBSERVATION, RAYS
from learners.driving.track import Floats, Ints
from learners.learner import BadWeights, LearnerError, TensorSpec
from protocol.ids import Ppm, Round

FPS = round(1 / STEP_SECONDS)
STATES = ("speed", "steering", *(f"ray-{ray}" for ray in range(RAYS)))
ACTION_NAMES = ("steering", "throttle")
TASK = "drive"


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Labelled states: what the expert would have done where the policy came to be."""

    observations: Floats
    """(labels, 15) on tracks."""
    actions: Floats
    """(labels, 2)."""
    interventions: NDArray[np.bool_] | None = None
    """(labels,): True where the expert had taken the wheel; None: nowhere, it only said what it would do."""

    def __len__(self) -> int:
        return len(self.observations)

    def taken_over(self) -> NDArray[np.bool_]:
        """(labels,): the interventions, written out."""
        return np.zeros(len(self), np.bool_) if self.interventions is None else self.interventions

    def at(self, rows: Ints) -> "Demonstrations":
        """Only these rows, in their order."""
        return Demonstrations(self.observations[rows], self.actions[rows], self.taken_over()[rows])


def joined(turns: Sequence[Demonstrations]) -> Demonstrations:
    """One after the other; one at least."""
    return Demonstrations(
        np.concatenate([turn.observations for turn in turns]),
        np.concatenate([turn.actions for turn in turns]),
        np.concatenate([turn.taken_over() for turn in turns]),
    )


EMPTY = Demonstrations(np.zeros((0, OBSERVATION), np.float32), np.zeros((0, ACTIONS), np.float32))


class Dataset:
    """What a peer has been shown so far. Its folder is private and outlives the process."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, and read what earlier processes left. Raises LearnerError on a damaged file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rounds: dict[Round, Demonstrations] = {}
        if (folder / "meta/info.json").exists():
            self._read_turns(data.open_dataset(folder))
        self._convert()

    def of(self, round: Round) -> Demonstrations | None:
        """What was collected in a round, or None. A turn taken again reuses it: labels are not free."""
        return self._rounds.get(round)

    def append(self, round: Round, demonstrations: Demonstrations) -> None:
        """Keep a round's demonstrations; they are all on disk when this returns. Raises LearnerError."""
        if round in self._rounds:
            raise ValueError(f"round {round} has its demonstrations already")
        if not len(demonstrations):
            raise LearnerError(f"round {round} brought no demonstrations; a turn without any is passed")
        features = _features(demonstrations)
        episodes = [_episode(demonstrations, at) for at in range(0, len(demonstrations), MAX_FRAMES)]
        names = [f"round-{round:09d}/{piece}" for piece in range(len(episodes))]
        data.open_dataset(self._folder, create=features).extend(episodes, task=TASK, sources=names)
        self._rounds[round] = demonstrations

    def until(self, round: Round) -> Demonstrations:
        """What was collected up to a round and in it, in order of rounds.

        So a restart, and whoever does the round again when later ones are over, trains on the same sequence.
        """
        return joined([self._rounds[each] for each in sorted(self._rounds) if each <= round] or [EMPTY])

    def __len__(self) -> int:
        return sum(len(turn) for turn in self._rounds.values())

    def _read_turns(self, found: data.Dataset) -> None:
        pieces: dict[Round, list[Demonstrations]] = {}
        for entry in found.entries:
            episode = found.read(entry)
            piece = Demonstrations(episode.states, episode.actions, episode.interventions)
            pieces.setdefault(_round_of(entry.source.partition("/")[0], self._folder), []).append(piece)
        self._rounds = {round: joined(those) for round, those in pieces.items()}

    def _convert(self) -> None:
        """Take over the files of the former kind, one a round; each goes once its labels are in the new."""
        for path in sorted(self._folder.glob("round-*.safetensors")):
            round = _round_of(path.name.removesuffix(".safetensors"), path)
            if round not in self._rounds:
                self.append(round, _read_former(path))
            path.unlink()


def _features(demonstrations: Demonstrations) -> Features:
    """On tracks the numbers have names. The learner validates by driving: no frame is kept from training."""
    seen, done = demonstrations.observations.shape[1], demonstrations.actions.shape[1]
    states = STATES if seen == OBSERVATION else tuple(f"observation-{place}" for place in range(seen))
    actions = ACTION_NAMES if done == ACTIONS else tuple(f"action-{place}" for place in range(done))
    return Features(FPS, states, actions, validation=Ppm(0))


def _episode(demonstrations: Demonstrations, at: int) -> Episode:
    """At most MAX_FRAMES labels as an episode: a shuffled sample of drives, so its clock only counts them."""
    chosen = slice(at, at + MAX_FRAMES)
    actions = demonstrations.actions[chosen]
    clock = np.arange(len(actions), dtype=np.float64) * STEP_SECONDS
    return Episode(demonstrations.observations[chosen], actions, demonstrations.taken_over()[chosen], clock)


def _round_of(name: str, place: Path) -> Round:
    digits = name.removeprefix("round-")
    if not digits.isdecimal():
        raise LearnerError(f"{place} holds {name or 'an episode'}, which is no turn's demonstrations; "
                           "recordings belong into a folder of their own")  # fmt: skip
    return Round(int(digits))


def _read_former(path: Path) -> Demonstrations:
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
