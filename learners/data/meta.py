"""What a dataset's folder says of itself in meta/, parsed strictly."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from learners.data.bounded import batches, parquet
from learners.data.episode import MAX_FRAMES, MAX_WIDTH, DataError, Features, ImageShape
from learners.data.frames import ACTION, IMAGE, INTERVENTION, STATE
from learners.data.split import Part
from protocol.ids import Ppm

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
EPISODES_PER_FILE = 1000
MAX_EPISODES = 1_000_000
MAX_TASKS = 1000
MAX_TEXT = 200
"""Characters of a task, or of a source's name."""
MAX_JSON = 4 * 1024 * 1024

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_Count = Annotated[int, Field(ge=0, le=2**53)]
_T = TypeVar("_T", bound=BaseModel)
_Text = Annotated[str, Field(max_length=MAX_TEXT)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)


_COLUMNS = {
    "episode": "episode_index",
    "first": "dataset_from_index",
    "end": "dataset_to_index",
    "chunk": "data/chunk_index",
    "file": "data/file_index",
    "meta_chunk": "meta/episodes/chunk_index",
    "meta_file": "meta/episodes/file_index",
}


class Entry(_Model):
    """What meta/episodes says of one episode: LeRobot's columns, and four of ours."""

    model_config = ConfigDict(alias_generator=lambda name: _COLUMNS.get(name, name))

    episode: _Count
    tasks: Annotated[list[_Text], Field(min_length=1, max_length=1)]
    length: Annotated[int, Field(ge=1, le=MAX_FRAMES)]
    first: _Count
    """The index of its first frame."""
    end: _Count
    chunk: _Count
    file: _Count
    meta_chunk: _Count
    meta_file: _Count
    part: Part
    """Whether it is for training or for validation."""
    source: _Text
    """Where it comes from; no two episodes name the same, but for the empty one."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of its frames."""
    interventions: _Count
    """Frames in which the expert had taken over."""

    @property
    def task(self) -> str:
        """What was driven, in words."""
        return self.tasks[0]


class _Feature(_Model):
    dtype: str
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MAX_WIDTH)]], Field(max_length=4)]
    names: list[str] | None = None


class InfoFile(_Model):
    """meta/info.json: LeRobot's own keys; its tools may add others, and drop ours."""

    codebase_version: str
    fps: Annotated[int, Field(ge=1)]
    features: dict[str, _Feature]
    total_episodes: _Count
    total_frames: _Count


class SplitFile(_Model):
    """meta/split.json: how episodes were, and will be, assigned."""

    validation_ppm: Annotated[int, Field(ge=0, le=1_000_000)]
    salt: _Text


ENTRIES = pa.schema(
    [
        ("episode_index", pa.int64()),
        ("tasks", pa.list_(pa.string())),
        ("length", pa.int64()),
        ("dataset_from_index", pa.int64()),
        ("dataset_to_index", pa.int64()),
        ("data/chunk_index", pa.int64()),
        ("data/file_index", pa.int64()),
        ("meta/episodes/chunk_index", pa.int64()),
        ("meta/episodes/file_index", pa.int64()),
        ("part", pa.string()),
        ("source", pa.string()),
        ("digest", pa.string()),
        ("interventions", pa.int64()),
    ]
)


def entry_path(entry: Entry) -> str:
    """The file of an episode's frames."""
    return DATA_PATH.format(chunk_index=entry.chunk, file_index=entry.file)


def numbered(template: str, number: int) -> str:
    """The path of the file with this number."""
    return template.format(chunk_index=number // FILES_PER_CHUNK, file_index=number % FILES_PER_CHUNK)


def dump_entries(entries: Sequence[Entry]) -> bytes:
    """A file of meta/episodes."""
    return _dumped(pa.Table.from_pylist([entry.model_dump(by_alias=True) for entry in entries], ENTRIES))


def load_entries(path: Path) -> list[Entry]:
    """A file of meta/episodes. Raises DataError."""
    with parquet(path, rows=MAX_EPISODES) as file:
        if missing := [name for name in ENTRIES.names if name not in file.schema_arrow.names]:
            raise DataError(
                f"{path} has no column {missing[0]}: another program wrote it; make a dataset from the "
                "folder: roundabout data import --from lerobot"
            )
        rows = [row for batch in batches(path, file, ENTRIES.names) for row in batch.to_pylist()]
    try:
        return [Entry.model_validate(row, by_name=False, by_alias=True) for row in rows]
    except ValidationError as fault:
        raise DataError(f"{path}: {_first(fault)}; restore it from a copy") from None


def dump_tasks(tasks: Sequence[str]) -> bytes:
    """meta/tasks.parquet: LeRobot reads it with pandas, and wants the task to be the index."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    text = {"numpy_type": "object", "pandas_type": "unicode", "metadata": None}
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "numpy_type": "int64",
             "pandas_type": "int64", "metadata": None},
            {"name": "task", "field_name": "task", **text},
        ],
        "pandas_version": "2.0.0",
    }  # fmt: skip
    return _dumped(table.replace_schema_metadata({"pandas": json.dumps(about)}))


def load_tasks(path: Path) -> list[str]:
    """The tasks, by their index. Raises DataError."""
    with parquet(path, rows=MAX_TASKS) as file:
        if not {"task", "task_index"} <= set(file.schema_arrow.names):
            raise DataError(f"{path} has no columns task and task_index; restore it from a copy")
        rows = [row for batch in batches(path, file, ["task_index", "task"]) for row in batch.to_pylist()]
    if any(type(row["task"]) is not str or type(row["task_index"]) is not int for row in rows):
        raise DataError(f"{path} holds tasks that are no text; restore it from a copy")
    rows.sort(key=lambda row: row["task_index"])
    return [row["task"] for row in rows]


def info_of(features: Features, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """What meta/info.json says."""
    single = {"shape": [1], "names": None}
    described: dict[str, Any] = {}
    if features.states:
        described[STATE] = {"dtype": "float32", "shape": [len(features.states)], "names": [*features.states]}
    described |= {
        ACTION: {"dtype": "float32", "shape": [len(features.actions)], "names": [*features.actions]},
        INTERVENTION: {"dtype": "bool", **single},
        "timestamp": {"dtype": "float32", **single},
        **{name: {"dtype": "int64", **single}
           for name in ("frame_index", "episode_index", "index", "task_index")},
        "next.done": {"dtype": "bool", **single},
    }  # fmt: skip
    if features.image is not None:
        size = [features.image.height, features.image.width, features.image.channels]
        described[IMAGE] = {"dtype": "image", "shape": size, "names": ["height", "width", "channels"]}
    return {
        "codebase_version": VERSION,
        "robot_type": "roundabout",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": features.fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": described,
    }


def features_in(info: InfoFile, split: SplitFile, path: Path) -> Features:
    """What `info_of` described. Raises DataError when it is another program's dataset."""
    if info.codebase_version != VERSION:
        raise DataError(f"{path} says version {info.codebase_version}, not {VERSION}; "
                        "import the folder: roundabout data import --from lerobot")  # fmt: skip
    found = info.features
    if ACTION not in found or INTERVENTION not in found:
        raise DataError(f"{path} names no action, or no intervention: another program wrote it; "
                        "import the folder: roundabout data import --from lerobot")  # fmt: skip
    image = found[IMAGE].shape if IMAGE in found else None
    if image is not None and len(image) != 3:
        raise DataError(f"{path} says that pictures have the shape {image}; restore it from a copy")
    return Features(
        info.fps,
        tuple(found[STATE].names or ()) if STATE in found else (),
        tuple(found[ACTION].names or ()),
        None if image is None else ImageShape(*image),
        Ppm(split.validation_ppm),
        split.salt,
    )


def parse(kind: type[_T], path: Path) -> _T:
    """A file of JSON in meta/. Raises DataError."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise DataError(f"{path} has more than {MAX_JSON:,} bytes; restore it from a copy")
        return kind.model_validate_json(path.read_bytes())
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror}") from None
    except ValidationError as fault:
        raise DataError(f"{path}: {_first(fault)}; restore it from a copy") from None


def _first(fault: ValidationError) -> str:
    error = fault.errors()[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _dumped(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    data: bytes = out.getvalue().to_pybytes()
    return data
