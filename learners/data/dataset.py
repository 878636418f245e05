"""A peer's dataset: a folder in LeRobot's layout, version 3, to which whole episodes are appended.

What is in the folder, and how it stays readable whatever happens to the writer, is in docs/data.md: frames are
written first, one file an episode, and an episode exists once its row is in meta/episodes.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from learners.data import frames, meta
from learners.data.episode import DataError, Episode, Features, check_episode
from learners.data.meta import Entry
from learners.data.split import Part, part_of
from learners.files import sync_names, write_whole
from protocol.ids import Ppm


@dataclass(frozen=True, slots=True)
class Info:
    """What is in a dataset, in numbers."""

    features: Features
    episodes: int
    frames: int
    interventions: int
    """Frames."""
    train: int
    """Episodes, and for the next the same."""
    validation: int
    train_frames: int
    validation_frames: int
    tasks: tuple[str, ...]


class Dataset:
    """Whole episodes, in the order they came; each for ever in one part. Made by `open_dataset`."""

    def __init__(self, folder: Path, features: Features) -> None:
        """Read what meta/ says of the episodes that are there. Raises DataError."""
        self._folder = folder
        self._features = features
        self._entries: list[Entry] = []
        self._tasks: list[str] = []
        self._reread()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    @property
    def features(self) -> Features:
        """What each episode consists of."""
        return self._features

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is known of each episode without reading its frames, in order."""
        return tuple(self._entries)

    @property
    def info(self) -> Info:
        """Counts of everything."""
        parts = Counter(entry.part for entry in self._entries)
        lengths = {part: sum(entry.length for entry in self._entries if entry.part == part) for part in parts}
        return Info(
            self._features,
            len(self._entries),
            sum(lengths.values()),
            sum(entry.interventions for entry in self._entries),
            parts["train"],
            parts["validation"],
            lengths.get("train", 0),
            lengths.get("validation", 0),
            tuple(self._tasks),
        )

    def __len__(self) -> int:
        """Episodes."""
        return len(self._entries)

    def append(self, episode: Episode, *, task: str = "drive", source: str = "") -> Entry:
        """Keep one episode; it is on disk when this returns. Raises DataError."""
        return self.extend([episode], task=task, sources=[source])[0]

    def extend(
        self, episodes: Sequence[Episode], *, task: str = "drive", sources: Sequence[str] = ()
    ) -> tuple[Entry, ...]:
        """Keep all of these episodes, or after a crash none of them. Raises DataError.

        sources: where each comes from; a name that is not empty is taken once.
        """
        names = list(sources) or [""] * len(episodes)
        if len(names) != len(episodes) or any(len(name) > meta.MAX_TEXT for name in (*names, task)):
            raise DataError(f"each episode has one source, and names have at most {meta.MAX_TEXT} characters")
        for episode in episodes:
            check_episode(episode, self._features)
        if not episodes:
            return ()
        with _alone(self._folder):
            self._reread()
            known = {entry.source for entry in self._entries if entry.source}
            for name in names:
                if name in known:
                    raise DataError(f"{self._folder} has the episode {name} already")
                known |= {name} - {""}
            return self._write(episodes, task, names)

    def read(self, entry: Entry) -> Episode:
        """The frames of an episode. Raises DataError when they are not those that were appended."""
        path = self._folder / meta.entry_path(entry)
        episode = frames.load(path, self._features, entry.length)
        if episode.digest() != entry.digest:
            raise DataError(
                f"{path} is damaged: its frames changed since they were written; restore it from a copy"
            )
        return episode

    def train(self) -> Iterator[Episode]:
        """The episodes for training, in order, each read when its turn comes. Raises DataError."""
        return self._part("train")

    def validation(self) -> Iterator[Episode]:
        """The episodes for validation, in order, each read when its turn comes. Raises DataError."""
        return self._part("validation")

    def share(self, validation: Ppm) -> None:
        """Set the share for validation of a dataset that has no episodes yet. Raises DataError."""
        with _alone(self._folder):
            self._reread()
            if self._entries:
                raise DataError(
                    f"{self._folder} has {len(self)} episodes, and their parts are settled for ever; "
                    "import the recordings into a new folder with the other share"
                )
            self._features = replace(self._features, validation=validation)
            _write_split(self._folder, self._features)

    def _part(self, part: Part) -> Iterator[Episode]:
        return (self.read(entry) for entry in tuple(self._entries) if entry.part == part)

    def _write(self, episodes: Sequence[Episode], task: str, sources: Sequence[str]) -> tuple[Entry, ...]:
        tasks = self._tasks if task in self._tasks else [*self._tasks, task]
        if len(tasks) > meta.MAX_TASKS:
            raise DataError(f"{self._folder} has {meta.MAX_TASKS} tasks already; use one of them")
        last = self._entries[-1] if self._entries else None
        file = 0 if last is None else last.meta_chunk * meta.FILES_PER_CHUNK + last.meta_file
        kept = [entry for entry in self._entries if _file_of(entry) == file]
        if len(kept) >= meta.EPISODES_PER_FILE:
            file, kept = file + 1, []
        added = self._entries_for(episodes, task, sources, file)
        self._remove_orphans(len(self._entries) + len(added))
        for entry, episode in zip(added, episodes, strict=True):
            data = frames.dump(episode, self._features, number=entry.episode, first=entry.first,
                               task=tasks.index(task))  # fmt: skip
            _write(self._folder / meta.entry_path(entry), data)
        if tasks != self._tasks:
            _write(self._folder / "meta/tasks.parquet", meta.dump_tasks(tasks))
            self._tasks = tasks
        _write(self._folder / meta.numbered(meta.EPISODES_PATH, file), meta.dump_entries([*kept, *added]))
        self._entries += added
        _write_info(self._folder, self._features, self._entries, self._tasks)
        return tuple(added)

    def _entries_for(
        self, episodes: Sequence[Episode], task: str, sources: Sequence[str], file: int
    ) -> list[Entry]:
        parts = {entry.digest: entry.part for entry in self._entries}
        first, added = (self._entries[-1].end if self._entries else 0), []
        for number, (episode, source) in enumerate(zip(episodes, sources, strict=True), len(self._entries)):
            digest = episode.digest()
            # The same frames again stay in the part where they are: never a frame in both.
            part = parts.setdefault(digest, part_of(number, self._features.validation, self._features.salt))
            added.append(
                Entry(
                    episode=number,
                    tasks=[task],
                    length=len(episode),
                    first=first,
                    end=first + len(episode),
                    chunk=number // meta.FILES_PER_CHUNK,
                    file=number % meta.FILES_PER_CHUNK,
                    meta_chunk=file // meta.FILES_PER_CHUNK,
                    meta_file=file % meta.FILES_PER_CHUNK,
                    part=part,
                    source=source,
                    digest=digest,
                    interventions=int(episode.interventions.sum()),
                )
            )
            first += len(episode)
        return added

    def _remove_orphans(self, after: int) -> None:
        """Remove what an append that did not end left behind what this one writes over."""
        found: list[Path] = []
        while (path := self._folder / meta.numbered(meta.DATA_PATH, after + len(found))).exists():
            found.append(path)
        for path in reversed(found):  # so that a crash here leaves no hole to stop at
            path.unlink()

    def _reread(self) -> None:
        """Learn what other processes appended since."""
        file = _file_of(self._entries[-1]) if self._entries else 0
        known = [entry for entry in self._entries if _file_of(entry) < file]
        while (path := self._folder / meta.numbered(meta.EPISODES_PATH, file)).exists():
            known += meta.load_entries(path)
            file += 1
        _check_order(self._folder, known)
        # The totals may lag behind by one append that did not end, and never run ahead.
        told = meta.parse(meta.InfoFile, self._folder / "meta/info.json").total_episodes
        if len(known) < max(told, len(self._entries)):
            raise DataError(
                f"{self._folder}/meta/episodes has {len(known)} of {max(told, len(self._entries))} episodes; "
                "restore it from a copy"
            )
        if known:
            self._tasks = meta.load_tasks(self._folder / "meta/tasks.parquet")
        self._entries = known


def open_dataset(folder: Path, *, create: Features | None = None) -> Dataset:
    """The dataset in a folder.

    create: makes an empty one where there is none; where there is one, its features have to be these.
    Raises DataError.
    """
    info = folder / "meta/info.json"
    if not info.exists():
        if create is None:
            raise DataError(f"{folder} holds no dataset: there is no meta/info.json")
        _write_split(folder, create)
        _write_info(folder, create, [], [])
    features = meta.features_in(
        meta.parse(meta.InfoFile, info), meta.parse(meta.SplitFile, folder / "meta/split.json"), info
    )
    if create is not None and create != features:
        name = next(f.name for f in fields(Features) if getattr(create, f.name) != getattr(features, f.name))
        raise DataError(
            f"{folder} holds a dataset whose {name} is {getattr(features, name)}, not {getattr(create, name)}; "
            "use another folder"
        )
    return Dataset(folder, features)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else appends meanwhile; the kernel lets go of a process that ends. Raises DataError."""
    descriptor = os.open(folder / "meta", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(f"another process appends to {folder}; try again when it is done") from None
    finally:
        os.close(descriptor)


def _check_order(folder: Path, entries: Sequence[Entry]) -> None:
    end = 0
    for number, entry in enumerate(entries):
        place = entry.chunk * meta.FILES_PER_CHUNK + entry.file
        if (entry.episode, place, entry.first, entry.end) != (number, number, end, end + entry.length):
            raise DataError(
                f"{folder}/meta/episodes is out of order at episode {number}; restore it from a copy"
            )
        end = entry.end


def _file_of(entry: Entry) -> int:
    return entry.meta_chunk * meta.FILES_PER_CHUNK + entry.meta_file


def _write_split(folder: Path, features: Features) -> None:
    split = meta.SplitFile(validation_ppm=features.validation, salt=features.salt)
    _write(folder / "meta/split.json", split.model_dump_json().encode())


def _write_info(folder: Path, features: Features, entries: Sequence[Entry], tasks: Sequence[str]) -> None:
    found = meta.info_of(features, len(entries), entries[-1].end if entries else 0, len(tasks))
    _write(folder / "meta/info.json", json.dumps(found, indent=2).encode())


def _write(path: Path, data: bytes) -> None:
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            sync_names(parent.parent)
    write_whole(path, data)
