"""Files that are whole or absent, whatever happens while they are written."""

import os
from pathlib import Path

TEMPORARY = ".tmp"
"""The suffix of a file that was not finished; nobody reads those."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old one, or none, or the whole new one."""
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Make the names in a folder outlast a power cut, as the data of each file does by itself."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
