"""Files that appear whole or not at all, and are read up to a bound."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from ledger.topic import LedgerError

_PIECE = 1024 * 1024


def write_whole(path: Path, data: bytes, what: str) -> None:
    """Replace a file in one step; `what` names it where it cannot be written. Raises LedgerError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise LedgerError(f"cannot write {what} to {path}: {error.strerror}; choose another place") from error


def read_bounded(source: BinaryIO, limit: int) -> bytes:
    """What a file holds, up to one byte more than `limit`; takes no more memory than there is in it."""
    data = bytearray()
    while len(data) <= limit and (piece := source.read(min(_PIECE, limit + 1 - len(data)))):
        data += piece
    return bytes(data)
