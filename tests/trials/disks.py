"""A small disk of its own for a daemon's data, which can be filled up."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST = "ballast"


def why_not() -> str | None:
    """Why there can be no small disk here, or None where there can."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    with tempfile.TemporaryDirectory() as folder:
        done = mount(Path(folder), 64)
        if done.returncode != 0:
            return f"a small disk cannot be mounted: {done.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return None


def mount(folder: Path, kilobytes: int) -> "subprocess.CompletedProcess[str]":
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=700", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def small_disk(folder: Path, kilobytes: int = 4096) -> Iterator[None]:
    """A disk of so many kilobytes at a folder, which is made."""
    folder.mkdir()
    done = mount(folder, kilobytes)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte on the folder's disk."""
    with (folder / BALLAST).open("ab", buffering=0) as ballast:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue


def empty(folder: Path) -> None:
    """Give the room back."""
    (folder / BALLAST).unlink()
