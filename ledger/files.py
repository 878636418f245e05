"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path

from ledger.topic import LedgerError


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
