"""A directory of one's own, and files in it that are whole or not there, readable by their owner only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.localnet.errors import LocalnetError


@contextmanager
def held_directory(directory: Path) -> Iterator[None]:
    """Hold a directory, made where it is missing, for this process alone. Raises LocalnetError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as fault:
        raise LocalnetError(
            f"{directory} cannot be used ({fault.strerror}): choose another directory"
        ) from None
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LocalnetError(
            f"{directory} is in use by another localnet: stop it, or choose another directory"
        ) from None


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 and put it in its place in one step, flushed to the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Flush a directory, so that a file put into it stays there after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
