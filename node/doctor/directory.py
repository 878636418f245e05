"""The data directory: whether a daemon has it now, whether it is ours, and its room."""

import fcntl
import os
import shutil
import stat
from pathlib import Path

from node.doctor.findings import Finding, doubt, fine, problem

ROOM = 4
"""Blobs of the largest size that a node needs room for: head, candidate, our own, and one on its way."""
SOME = 64 * 1024 * 1024
"""Bytes that journal, outbox and the learner's data want besides."""
_LITTLE = 1024 * 1024


def is_running(data: Path) -> bool:
    """Whether a daemon holds the data directory now."""
    try:
        with (data / "lock").open("rb") as lock:
            # A shared lock, given back at once: a daemon that starts in this very moment is refused.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def examine_directory(data: Path) -> Finding:
    """Whether it is there, ours alone, and can be written to."""
    if not data.exists():
        parent = next(each for each in data.absolute().parents if each.exists())
        if not os.access(parent, os.W_OK):
            return problem("data", f"{data} cannot be made: {parent} is not ours", "check `data`")
        return fine("data", f"{data} is not there yet: the daemon will make it")
    if not data.is_dir():
        return problem("data", f"{data} is no directory", "check `data`")
    is_read_only = bool(os.statvfs(data).f_flag & os.ST_RDONLY)
    if is_read_only or not os.access(data, os.W_OK | os.X_OK):
        return problem("data", f"{data} cannot be written to", "check `data` and its permissions")
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & 0o077:
        return doubt("data", f"others may look into {data} (mode {mode:04o})", f"run: chmod 700 {data}")
    return fine("data", f"{data} is ours")


def examine_room(data: Path, max_blob: int) -> Finding:
    """Whether there is room for the blobs of a run."""
    there = next(each for each in (data.absolute(), *data.absolute().parents) if each.is_dir())
    free, wanted = shutil.disk_usage(there).free, ROOM * max_blob + SOME
    said = f"{_size(free)} are free for {data}"
    if free < max_blob + _LITTLE:
        return problem("disk", f"{said}, a blob of this run has up to {_size(max_blob)}", "free the disk")
    if free < wanted:
        return doubt("disk", f"{said}, a node wants {_size(wanted)}", "free the disk")
    return fine("disk", said)


def _size(count: int) -> str:
    return f"{count / 1024**2:,.0f} MiB"
