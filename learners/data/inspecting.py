"""A look at all that a dataset holds: counts, how it was steered, and a few of its frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.data.dataset import Dataset, Info
from learners.data.meta import Entry
from learners.data.split import Part

BINS = 21
"""Of the histogram; odd, so that straight ahead has one of its own."""
SAMPLES = 8
"""Frames that are shown."""
STEERING = "steering"


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame."""

    episode: int
    frame: int
    part: Part
    steering: float
    image: bytes


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found; every frame was read, and compared with its digest."""

    info: Info
    seconds: float
    """Driven, all episodes together."""
    steered: str
    """The action that the histogram is of: steering, or else the first."""
    edges: NDArray[np.float64]
    """(BINS + 1,): where each bar begins, and where the last ends."""
    train: NDArray[np.int64]
    """(BINS,) frames for training, and for validation the same."""
    validation: NDArray[np.int64]
    traces: tuple[tuple[Part, NDArray[np.float64], NDArray[np.float32]], ...]
    """Of up to three episodes: the part, times (n,) and steering (n,)."""
    samples: tuple[Sample, ...]
    """Frames from all over the dataset; none where it has no pictures."""


def inspect(dataset: Dataset) -> Inspection:
    """Read everything once, an episode at a time. Raises DataError when something is damaged."""
    features = dataset.features
    place = features.actions.index(STEERING) if STEERING in features.actions else 0
    edges = _edges(dataset, place)
    counts = {"train": np.zeros(BINS, np.int64), "validation": np.zeros(BINS, np.int64)}
    wanted = _sampled(dataset.entries)
    seconds, samples = 0.0, []
    traces: list[tuple[Part, NDArray[np.float64], NDArray[np.float32]]] = []
    for entry in dataset.entries:
        episode = dataset.read(entry)
        steering = episode.actions[:, place]
        counts[entry.part] += np.histogram(steering.clip(edges[0], edges[-1]), edges)[0]
        seconds += float(episode.timestamps[-1])
        if len(traces) < 3:
            traces.append((entry.part, episode.timestamps, steering))
        for frame in wanted.get(entry.episode, ()) if episode.images is not None else ():
            image = episode.images[frame] if episode.images is not None else b""
            samples.append(Sample(entry.episode, frame, entry.part, float(steering[frame]), image))
    return Inspection(
        dataset.info, seconds, features.actions[place], edges, counts["train"], counts["validation"],
        tuple(traces), tuple(samples),
    )  # fmt: skip


def _edges(dataset: Dataset, place: int) -> NDArray[np.float64]:
    """Controls go from -1 to 1; other actions have the width of the first episodes."""
    if dataset.features.actions[place] == STEERING or not dataset.entries:
        return np.linspace(-1, 1, BINS + 1)
    seen = np.concatenate([dataset.read(entry).actions[:, place] for entry in dataset.entries[:SAMPLES]])
    low, high = float(seen.min()), float(seen.max())
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _sampled(entries: tuple[Entry, ...]) -> dict[int, list[int]]:
    """Frames spread evenly over all frames, by episode."""
    total = sum(entry.length for entry in entries)
    chosen = np.unique(np.linspace(0, max(total - 1, 0), SAMPLES + 2, dtype=int)[1:-1]) if total else ()
    found: dict[int, list[int]] = {}
    for index in chosen:
        entry = next(each for each in entries if each.first <= index < each.end)
        found.setdefault(entry.episode, []).append(int(index) - entry.first)
    return found
