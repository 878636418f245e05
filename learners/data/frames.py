"""An episode as a file of parquet, one row a frame, in LeRobot's columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from learners.data.bounded import batches, parquet
from learners.data.episode import MAX_EPISODE_BYTES, MAX_IMAGE_BYTES, DataError, Episode, Features

STATE = "observation.state"
ACTION = "action"
INTERVENTION = "intervention"
IMAGE = "observation.images.front"
IMAGE_BYTES = f"{IMAGE}.bytes"
ROWS_PER_GROUP = 256

_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema_of(features: Features) -> pa.Schema:
    """The columns of a dataset with these features."""
    fields = [(STATE, vector(len(features.states)))] if features.states else []
    fields += [
        (ACTION, vector(len(features.actions))),
        (INTERVENTION, pa.bool_()),
        ("timestamp", pa.float32()),
        ("frame_index", pa.int64()),
        ("episode_index", pa.int64()),
        ("index", pa.int64()),
        ("task_index", pa.int64()),
        ("next.done", pa.bool_()),
    ]
    fields += [(IMAGE, _IMAGE_TYPE)] if features.image else []
    return pa.schema(fields)


def vector(width: int) -> pa.DataType:
    """The type of a state or an action: LeRobot keeps a single number bare."""
    return pa.float32() if width == 1 else pa.list_(pa.float32(), width)


def dump(episode: Episode, features: Features, *, number: int, first: int, task: int) -> bytes:
    """The bytes of an episode's file: the same frames give the same bytes.

    number: of the episode; first: the index of its first frame in the dataset; task: its place among the tasks.
    """
    frames = len(episode)
    columns: dict[str, Any] = {
        STATE: _vectors(episode.states),
        ACTION: _vectors(episode.actions),
        INTERVENTION: pa.array(episode.interventions),
        "timestamp": pa.array(episode.timestamps.astype(np.float32)),
        "frame_index": pa.array(np.arange(frames)),
        "episode_index": pa.array(np.full(frames, number)),
        "index": pa.array(np.arange(first, first + frames)),
        "task_index": pa.array(np.full(frames, task)),
        "next.done": pa.array(np.arange(frames) == frames - 1),
    }
    if episode.images is not None:
        paths = pa.array([f"frame-{frame:06d}" for frame in range(frames)])
        columns[IMAGE] = pa.StructArray.from_arrays(
            [pa.array(episode.images, pa.binary()), paths], fields=list(_IMAGE_TYPE)
        )
    schema = schema_of(features)
    out = pa.BufferOutputStream()
    pq.write_table(
        pa.table([columns[name] for name in schema.names], schema=schema),
        out,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    data: bytes = out.getvalue().to_pybytes()
    return data


def load(path: Path, features: Features, frames: int) -> Episode:
    """The episode of a file that `dump` wrote. Raises DataError when it is anything else."""
    schema = schema_of(features)
    states, actions, interventions, timestamps = [], [], [], []
    images: list[bytes] = []
    size = 0
    with parquet(path, rows=frames, whole=[IMAGE_BYTES]) as file:
        if not _same(file.schema_arrow, schema) or file.metadata.num_rows != frames:
            raise DataError(
                f"{path} is not what meta/ says: {file.metadata.num_rows} rows of "
                f"{', '.join(file.schema_arrow.names)[:200]}; restore the folder from a copy"
            )
        for batch in batches(path, file, schema.names):
            states.append(vectors_in(batch, STATE, len(features.states), path))
            actions.append(vectors_in(batch, ACTION, len(features.actions), path))
            interventions.append(numbers_in(batch, INTERVENTION, np.dtype(np.bool_), path))
            timestamps.append(numbers_in(batch, "timestamp", np.dtype(np.float32), path))
            if features.image is not None:
                found = images_in(batch, IMAGE, path)
                size += sum(map(len, found))
                if size > MAX_EPISODE_BYTES:
                    raise DataError(f"{path} has more than {MAX_EPISODE_BYTES:,} bytes of pictures")
                images += found
    return Episode(
        np.concatenate(states),
        np.concatenate(actions),
        np.concatenate(interventions),
        np.concatenate(timestamps).astype(np.float64),
        None if features.image is None else tuple(images),
    )


def vectors_in(batch: pa.RecordBatch, name: str, width: int, path: Path) -> np.ndarray[Any, Any]:
    """(rows, width) float32: a column of numbers or of lists of `width` numbers each. Raises DataError."""
    if width == 0:
        return np.zeros((batch.num_rows, 0), np.float32)
    column = batch.column(name)
    # A row that is null has no numbers: `flatten` would drop it and shift the others.
    if column.null_count:
        raise DataError(f"{path}: {name} is missing in {column.null_count} of {len(column)} rows")
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if (column.value_lengths().to_numpy(zero_copy_only=False) != width).any():
            raise DataError(f"{path}: {name} does not hold {width} numbers in every row")
    elif pa.types.is_fixed_size_list(column.type):
        if column.type.list_size != width:
            raise DataError(f"{path}: {name} holds {column.type.list_size} numbers, not {width}")
    elif width != 1:
        raise DataError(f"{path}: {name} is {column.type}, not {width} numbers")
    is_list = pa.types.is_nested(column.type)
    values = column.flatten() if is_list else column
    if values.null_count:
        raise DataError(f"{path}: {name} holds {values.null_count} missing numbers")
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DataError(f"{path}: {name} is {column.type}; numbers are wanted")
    numbers: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False).astype(np.float32)
    return numbers.reshape(batch.num_rows, width)


def numbers_in(
    batch: pa.RecordBatch, name: str, kind: np.dtype[Any], path: Path
) -> np.ndarray[Any, np.dtype[Any]]:
    """(rows,): a column of single values. Raises DataError."""
    column = batch.column(name)
    wanted = pa.types.is_boolean if kind == np.bool_ else _is_number
    if column.null_count or not wanted(column.type):
        raise DataError(f"{path}: {name} is {column.type} with {column.null_count} missing; {kind} is wanted")
    values: np.ndarray[Any, np.dtype[Any]] = column.to_numpy(zero_copy_only=False).astype(kind)
    return values


def images_in(batch: pa.RecordBatch, name: str, path: Path) -> list[bytes]:
    """The bytes of a column of pictures that was opened as `whole`. Raises DataError."""
    column = batch.column(name)
    if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0 or column.null_count:
        raise DataError(f"{path}: {name} is {column.type}; pictures as struct<bytes, path> are wanted")
    found = column.field("bytes")
    if found.null_count or not pa.types.is_dictionary(found.type) or not _is_bytes(found.type.value_type):
        raise DataError(f"{path}: {name} lacks the bytes of {found.null_count or 'its'} pictures")
    values = found.dictionary.to_pylist()
    longest = max((len(value or b"") for value in values), default=0)
    if longest > MAX_IMAGE_BYTES or None in values:
        raise DataError(f"{path}: {name} has a picture of {longest:,} bytes; {MAX_IMAGE_BYTES:,} at most")
    return [values[place] for place in found.indices.to_pylist()]


def _vectors(numbers: np.ndarray[Any, Any]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(numbers).reshape(-1))
    return flat if numbers.shape[1] <= 1 else pa.FixedSizeListArray.from_arrays(flat, numbers.shape[1])


def _same(found: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether the columns agree; pictures were opened as dictionaries."""
    return found.names == wanted.names and all(
        found.field(name).type == wanted.field(name).type for name in wanted.names if name != IMAGE
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
