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
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name itself is on disk only then
    finally:
        os.close(directory)
