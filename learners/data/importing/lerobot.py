"""LeRobot's folders, versions 3.0, 2.1 and 2.0: frames in parquet, pictures in it as PNG; videos are not decoded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from learners.data.bounded import batches, parquet
from learners.data.episode import MAX_WIDTH, DataError, Features, ImageShape
from learners.data.frames import ACTION, INTERVENTION, STATE, images_in, numbers_in, vectors_in
from learners.data.importing.recording import MAX_ROWS, Account, Frame, check_size, digest_of_files
from learners.data.meta import MAX_TASKS, MAX_TEXT, parse
from learners.data.pictures import check_picture

KIND = "lerobot"
VERSIONS = ("v3.0", "v2.1", "v2.0")
MAX_FILES = 100_000
TAKEN_OVER = (INTERVENTION, "is_intervention", "complementary_info.is_intervention")
"""The names under which a frame says that somebody had taken over."""
CLOCK = ("timestamp", "episode_index")
PLACES = ("frame_index", "index", "task_index", "next.done")
"""Columns that are made anew."""
_NUMBERS = ("float32", "float64", "float16", "int64", "int32")


class _Feature(BaseModel):
    model_config = ConfigDict(frozen=True)

    dtype: str
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=8)]
    names: Any = None


class _Info(BaseModel):
    model_config = ConfigDict(frozen=True)

    codebase_version: str
    fps: Annotated[float, Field(ge=1, le=1000)]
    features: dict[str, _Feature]


class LerobotRecording:
    """A dataset's folder."""

    kind = KIND
    keeps_episodes = True

    def __init__(self, source: Path) -> None:
        """Read its meta/. Raises DataError when it is no dataset, or of another version."""
        check_size(source / "meta/info.json")
        self._source = source
        info = parse(_Info, source / "meta/info.json")
        if info.codebase_version not in VERSIONS:
            raise DataError(
                f"{source} is of version {info.codebase_version[:20]}; known: {', '.join(VERSIONS)}"
            )
        self._described = info.features
        self._files = sorted(source.glob("data/chunk-*/*.parquet"))
        if not 0 < len(self._files) <= MAX_FILES:
            raise DataError(
                f"{source}/data has {len(self._files)} files of parquet; from 1 to {MAX_FILES:,} are read"
            )
        metas = sorted(source.glob("meta/episodes/*/*.parquet")) or sorted(source.glob("meta/*.jsonl"))
        # Episodes never change once they are recorded, and are known again by their frames.
        self.beginning = self.digest = digest_of_files([source / "meta/info.json", *metas[:MAX_FILES]])
        self._image = next((name for name, f in info.features.items() if f.dtype == "image"), None)
        self._flag = next((name for name in TAKEN_OVER if name in info.features), None)
        self.features = Features(
            round(info.fps),
            _names(info.features, STATE) if STATE in info.features else (),
            _names(info.features, ACTION),
            None if self._image is None else _image_shape(info.features[self._image]),
        )
        self._tasks = _tasks(source)

    def frames(self, account: Account) -> Iterator[Frame]:
        """Every frame with sound numbers and, where the dataset has any, a sound picture. Raises DataError."""
        self._tell(account)
        for path in self._files:
            try:
                yield from self._frames_of(path, account)
            except DataError as fault:
                account.skip(f"a file that cannot be read: {str(fault)[:200]}", path.name)

    def _tell(self, account: Account) -> None:
        videos = [name for name, feature in self._described.items() if feature.dtype == "video"]
        if videos:
            account.note(
                f"videos are not decoded, their frames come without pictures: {', '.join(videos)[:200]}"
            )
        used = {STATE, ACTION, self._image, self._flag, *CLOCK, *PLACES, *videos}
        if foreign := [name[:60] for name in self._described if name not in used]:
            account.note(f"columns that are not imported: {', '.join(foreign[:20])}")

    def _frames_of(self, path: Path, account: Account) -> Iterator[Frame]:
        columns = [ACTION, *CLOCK]
        columns += [STATE] if self.features.states else []
        columns += [name for name in (self._flag, self._image) if name is not None]
        with parquet(path, rows=MAX_ROWS, whole=[f"{self._image}.bytes"]) as file:
            there = file.schema_arrow.names
            if missing := [name for name in columns if name not in there]:
                raise DataError(f"no column {missing[0]}")
            columns += ["task_index"] if "task_index" in there else []
            first = 0
            for batch in batches(path, file, columns):
                account.rows += batch.num_rows
                yield from self._sound(batch, path, first, account)
                first += batch.num_rows

    def _sound(self, batch: pa.RecordBatch, path: Path, first: int, account: Account) -> list[Frame]:
        """The frames of some rows; where one is broken, the rows are looked at one by one."""
        try:
            return self._read(batch, path)
        except DataError as fault:
            if batch.num_rows == 1:
                reason = str(fault).removeprefix(f"{path}: ")[:120]
                account.skip(reason, f"{path.parent.name}/{path.name}, row {first}")
                return []
        rows = [self._sound(batch.slice(row, 1), path, first + row, account) for row in range(batch.num_rows)]
        return [frame for found in rows for frame in found]

    def _read(self, batch: pa.RecordBatch, path: Path) -> list[Frame]:
        rows = batch.num_rows
        states = vectors_in(batch, STATE, len(self.features.states), path)
        actions = vectors_in(batch, ACTION, len(self.features.actions), path)
        times = numbers_in(batch, "timestamp", np.dtype(np.float64), path)
        drives = numbers_in(batch, "episode_index", np.dtype(np.int64), path)
        flags: Any = [False] * rows
        if self._flag is not None:
            flags = numbers_in(batch, self._flag, np.dtype(np.bool_), path)
        tasks = [0] * rows
        if "task_index" in batch.schema.names:
            tasks = numbers_in(batch, "task_index", np.dtype(np.int64), path).tolist()
        images: list[bytes | None] = [None] * rows
        if self._image is not None:
            images = [*images_in(batch, self._image, path)]
        if not (np.isfinite(states).all() and np.isfinite(actions).all() and np.isfinite(times).all()):
            raise DataError("a number is not finite")
        for image in images:
            if image is not None and check_picture(image) != self.features.image:
                raise DataError("the picture has another size than meta/info.json says")
        return [
            Frame(int(drives[row]), float(times[row]), tuple(states[row].tolist()), tuple(actions[row].tolist()),
                  bool(flags[row]), images[row], self._tasks.get(tasks[row], "drive"))
            for row in range(rows)
        ]  # fmt: skip


def _names(features: dict[str, _Feature], name: str) -> tuple[str, ...]:
    """What the numbers of a column are called; LeRobot's writers say it as a list, or within an object."""
    if name not in features:
        raise DataError(f"the dataset has no column {name}")
    feature = features[name]
    if len(feature.shape) != 1 or feature.shape[0] > MAX_WIDTH or feature.dtype not in _NUMBERS:
        raise DataError(
            f"{name} is {feature.dtype[:20]} of shape {feature.shape}; a row of numbers is wanted"
        )
    names = feature.names
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == feature.shape[0]:
        return tuple(str(each)[:MAX_TEXT] for each in names)
    return tuple(f"{name}-{place}" for place in range(feature.shape[0]))


def _image_shape(feature: _Feature) -> ImageShape:
    shape = feature.shape
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
        shape = [*shape[1:], shape[0]]  # some say channels first
    if len(shape) != 3:
        raise DataError(f"pictures of shape {shape}; height, width and channels are wanted")
    return ImageShape(*shape)


def _tasks(source: Path) -> dict[int, str]:
    """Tasks by their index; where they cannot be read, frames have the task `drive`."""
    rows: list[dict[str, Any]] = []
    table, lines = source / "meta/tasks.parquet", source / "meta/tasks.jsonl"
    if table.is_file():
        with parquet(table, rows=MAX_TASKS) as file:
            names = set(file.schema_arrow.names)
            text = next((name for name in ("task", "__index_level_0__") if name in names), None)
            if text is not None and "task_index" in names:
                found = batches(table, file, ["task_index", text])
                rows = [{"task": row[text], "task_index": row["task_index"]}
                        for batch in found for row in batch.to_pylist()]  # fmt: skip
    elif lines.is_file():
        check_size(lines, 4 * 1024 * 1024)
        try:
            rows = [json.loads(line) for line in lines.read_bytes().splitlines()[:MAX_TASKS] if line.strip()]
        except ValueError:
            rows = []
    return {
        row["task_index"]: row["task"][:MAX_TEXT]
        for row in rows
        if isinstance(row, dict) and type(row.get("task_index")) is int and type(row.get("task")) is str
    }
