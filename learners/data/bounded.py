"""Parquet files from anybody, read with bounds: what a file says of itself is checked before it is decoded."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from learners.data.episode import MAX_EPISODE_BYTES, DataError

MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024
MAX_GROUP_BYTES = 2 * MAX_EPISODE_BYTES
"""Decompressed bytes of one row group, of the columns that are read."""
MAX_COLUMNS = 512
MAX_GROUPS = 100_000
MAX_FOOTER = 16 * 1024 * 1024
BATCH = 64
"""Rows decoded at a time."""


@contextmanager
def parquet(path: Path, *, rows: int, whole: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """A parquet file with at most so many rows. Raises DataError.

    whole: paths of columns of bytes whose equal values are to stay one: a small file can repeat a large value
    without end.
    """
    with _opened(path, rows, whole) as file:
        yield file


def batches(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some rows at a time of these columns, each row group bounded before any is touched. Raises DataError."""
    with _named(path):
        about = file.metadata
        # Not the sizes of single columns: asking a damaged footer for those ends the process.
        size = max(
            (about.row_group(group).total_byte_size for group in range(about.num_row_groups)), default=0
        )
        if size > MAX_GROUP_BYTES:
            raise DataError(f"{path} has a row group of {size:,} bytes; at most {MAX_GROUP_BYTES:,} are read: "
                            "write it again with smaller row groups")  # fmt: skip
        rows = 0
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns), use_threads=False):
            rows += batch.num_rows
            yield batch.select(list(columns))
        if rows != about.num_rows:
            raise DataError(f"{path} holds {rows} rows and says {about.num_rows}; restore it from a copy")


def _opened(path: Path, rows: int, whole: Sequence[str]) -> pq.ParquetFile:
    if not path.is_file():
        raise DataError(f"{path} is missing; restore it from a copy of the folder")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    file = _open(path, ())
    with _named(path):
        found = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]
    if kept := set(whole) & set(found):
        file.close()
        file = _open(path, kept)
    if file.metadata.num_rows > rows or file.metadata.num_columns > MAX_COLUMNS:
        file.close()
        raise DataError(f"{path} has {file.metadata.num_rows:,} rows and {file.metadata.num_columns} columns; "
                        f"at most {rows:,} and {MAX_COLUMNS} are read")  # fmt: skip
    return file


def _open(path: Path, whole: Collection[str]) -> pq.ParquetFile:
    with _named(path):
        return pq.ParquetFile(
            path,
            read_dictionary=list(whole),
            thrift_string_size_limit=MAX_FOOTER,
            thrift_container_size_limit=MAX_GROUPS,
            page_checksum_verification=True,
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as fault:
        cause = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise DataError(f"{path} cannot be read: {cause}; restore it from a copy") from None
