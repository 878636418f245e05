"""What processes cost, from /proc: memory that is theirs, and CPU time."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, bytes."""

    rss: int
    """What it has in memory, files it shares with other processes counted in full."""
    pss: int
    """Likewise, each shared page divided by how many share it: sums over processes are true."""


def memory_of(pid: int) -> Memory:
    """The memory of a process now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {name.rstrip(":"): 1024 * int(size) for name, size, *_ in map(str.split, lines)}
    return Memory(rss=found["Rss"], pss=found["Pss"])


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has taken, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, oldest first."""
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError):  # threads come and go
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return sorted(found)
