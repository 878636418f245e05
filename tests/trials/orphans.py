"""Learner processes: whose they are, and whether they are gone."""

from pathlib import Path

import anyio

from tests.e2e.conftest import is_running

PATIENCE = 15.0


def learners_of(daemon: int) -> list[int]:
    """The learner processes that a daemon has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == daemon and b"learners.worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


async def wait_until_gone(pids: list[int]) -> None:
    """Wait until none of these processes runs; who outlives its daemon for long is an orphan."""
    with anyio.move_on_after(PATIENCE) as waited:
        while any(is_running(pid) for pid in pids):
            await anyio.sleep(0.05)
    assert not waited.cancelled_caught, f"orphans: {[pid for pid in pids if is_running(pid)]}"
