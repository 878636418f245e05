"""Recordings of drives: trained on and judged frame by frame (open loop), since nobody can drive in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learners.camera.film import Columns, Film, film_of
from learners.camera.options import RecordedOptions
from learners.camera.pictures import Lens
from learners.camera.policy import Weights, actions_of
from learners.camera.world import Judgement, Lesson
from learners.data.dataset import Dataset, open_dataset
from learners.data.episode import DataError
from learners.data.split import Part
from learners.learner import LearnerError
from protocol.ids import Round

FEW_EPISODES = 8
"""With fewer, an error from one number an episode would itself be a guess:"""
BLOCK_SECONDS = 10.0
"""episodes are cut into blocks this long, longer than any one bend."""


class Recordings:
    """The dataset of one peer; implements `world.World`."""

    scorer = "steering-error/1"
    """The score of a frame; see `steering_scores`."""

    def __init__(self, options: RecordedOptions, data: Path) -> None:
        """data: the learner's folder. The dataset is opened when it is needed, and may grow meanwhile."""
        self._options = options
        self._folder = data / Path(options.dataset).expanduser()
        self._lens = Lens(options.height, options.width, options.crop_top, options.crop_bottom)
        self._columns = Columns(options.steering, options.throttle, options.speed, options.full_speed)
        self._films: dict[Part, tuple[int, Film]] = {}

    def lesson(self, head: Weights, round: Round, seed: int) -> Lesson:
        """The training episodes. Raises LearnerError."""
        dataset = self._opened()
        film = self._film(dataset, "train", self._options.frames)
        return Lesson(film, fresh=0, total=dataset.info.train_frames)

    def judge(self, policies: Sequence[Weights]) -> Judgement:
        """The steering errors in the validation episodes. Raises LearnerError."""
        film = self._film(self._opened(), "validation", self._options.validation_frames)
        wanted = film.actions[:, 0]
        scores = [steering_scores(actions_of(policy, film.sight)[:, 0], wanted) for policy in policies]
        return Judgement(np.stack(scores), clusters_of(film.episodes, film.seconds))

    def _opened(self) -> Dataset:
        try:
            return open_dataset(self._folder)
        except DataError as fault:
            raise LearnerError(f"{fault}; `roundabout data import` makes a dataset of recordings") from None

    def _film(self, dataset: Dataset, part: Part, most: int) -> Film:
        """Decoded frames, kept until episodes are added."""
        found = self._films.get(part)
        if found is None or found[0] != len(dataset):
            film = film_of(dataset, part, most, self._lens, self._columns)
            if not len(film):
                name = "training" if part == "train" else "validation"
                raise LearnerError(f"none of the {len(dataset)} episodes in {self._folder} is for {name}; "
                                   "record more drives, or import them into a folder with another share")  # fmt: skip
            self._films[part] = found = (len(dataset), film)
        return found[1]


def steering_scores(steering: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 less the error, frame by frame: 1 is the expert's steering, 0 is as wrong as straight on for full lock.

    steering, wanted: (n,) in [-1, 1].
    """
    return 1.0 - np.abs(steering.astype(np.float64) - wanted).clip(0, 1)


def clusters_of(episodes: NDArray[np.int64], seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which frames belong together: those of an episode, or of a block of one where there are few episodes.

    episodes, seconds: (n,), in recorded order. Returns (n,), numbers that are equal within a cluster.
    """
    if len(np.unique(episodes)) >= FEW_EPISODES:
        return episodes
    block = (seconds // BLOCK_SECONDS).astype(np.int64)
    is_first = np.ones(len(episodes), bool)
    is_first[1:] = (np.diff(episodes) != 0) | (np.diff(block) != 0)
    return is_first.cumsum()
