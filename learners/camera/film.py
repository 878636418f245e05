"""Frames of a dataset, decoded: as many as fit the memory they may take."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.camera.pictures import Lens, seen_in
from learners.camera.policy import Floats, Sight
from learners.data.dataset import Dataset
from learners.data.episode import DataError, Episode
from learners.data.split import Part
from learners.wanted import check_wanted

_SAMPLE_SEED = 0
_ASK = 64  # pictures, some milliseconds each at most, between two questions whether they are still wanted


@dataclass(frozen=True, slots=True)
class Columns:
    """Which numbers of an episode are shown and which are learned."""

    steering: str
    throttle: str
    """Learned too, if there is one of this name."""
    speed: str
    """Shown, if there is one of this name."""
    full_speed: float
    """Which speed counts as 1."""


@dataclass(frozen=True, slots=True)
class Film:
    """n frames, in the order they were recorded."""

    sight: Sight
    actions: Floats
    """(n, 1) or (n, 2): what the expert did, steering first."""
    episodes: NDArray[np.int64]
    """(n,): the episode each is of."""
    seconds: NDArray[np.float64]
    """(n,): since that episode began."""

    def __len__(self) -> int:
        return len(self.actions)


def film_of(dataset: Dataset, part: Part, most: int, lens: Lens, columns: Columns) -> Film:
    """The frames of a part; of more than `most` a sample, the same as long as nothing is appended.

    One episode is held in its recorded form at a time. Raises DataError.
    """
    known = dataset.features
    if known.image is None:
        raise DataError(f"{dataset.folder} has no pictures; the camera learner needs recordings of a camera")
    if columns.steering not in known.actions:
        raise DataError(f"{dataset.folder} has no action {columns.steering!r} but {', '.join(known.actions)}; "
                        "say which is the steering with the option `steering`")  # fmt: skip
    learned = [
        known.actions.index(name) for name in (columns.steering, columns.throttle) if name in known.actions
    ]
    total = sum(entry.length for entry in dataset.entries if entry.part == part)
    count = min(total, most)
    film = Film(
        Sight(np.empty((count, lens.height, lens.width), np.uint8), np.zeros(count, np.float32)),
        np.empty((count, len(learned)), np.float32),
        np.empty(count, np.int64),
        np.empty(count, np.float64),
    )
    for number, episode, rows, place in _chosen(dataset, part, total, count):
        if columns.speed in known.states:
            speeds = episode.states[rows, known.states.index(columns.speed)] / columns.full_speed
            film.sight.speeds[place] = speeds.clip(-2, 2)
        film.actions[place] = episode.actions[rows][:, learned].clip(-1, 1)
        film.episodes[place] = number
        film.seconds[place] = episode.timestamps[rows]
        for index, row in enumerate(rows.tolist()):
            if index % _ASK == 0:
                check_wanted()
            film.sight.images[place.start + index] = _picture(dataset, number, episode, row, lens)
    return film


def _chosen(
    dataset: Dataset, part: Part, total: int, count: int
) -> Iterator[tuple[int, Episode, NDArray[np.int64], slice]]:
    """The episodes that frames are taken of: number, episode, which frames, and where they go."""
    rng = np.random.default_rng(_SAMPLE_SEED)
    chosen = np.sort(rng.choice(total, count, replace=False)) if count < total else np.arange(total)
    first = 0
    for entry in dataset.entries:
        if entry.part != part:
            continue
        begin, end = np.searchsorted(chosen, [first, first + entry.length]).tolist()
        if begin < end:
            yield entry.episode, dataset.read(entry), chosen[begin:end] - first, slice(begin, end)
        first += entry.length


def _picture(dataset: Dataset, number: int, episode: Episode, row: int, lens: Lens) -> NDArray[np.uint8]:
    if episode.images is None:
        raise DataError(f"{dataset.folder}: episode {number} has no pictures; restore it from a copy")
    try:
        return seen_in(episode.images[row], lens)
    except DataError as fault:
        raise DataError(
            f"{dataset.folder}: episode {number}, frame {row}: {fault}; import the recording again"
        ) from None
