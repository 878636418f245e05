"""A disk that is full: at the start one line says so; later the daemon does not contradict itself, and recovers."""

import time
from pathlib import Path

import pytest

from protocol.ids import Nanoseconds
from tests.trials.conduct import check_agreement, check_signatures, more_decisions, until_all_proposed
from tests.trials.disks import empty, fill, small_disk, why_not
from tests.trials.trial import PATIENCE, name_of, trial

SIZE = 3
POOR = 0


@pytest.fixture(autouse=True)
def _is_possible() -> None:
    """Skips, and says why, where it is not."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.slow
async def test_a_full_disk_stops_nobody_for_good(tmp_path: Path) -> None:
    async with trial(tmp_path, SIZE, round_window=4, inactive_after=20) as run:
        with small_disk(run.data(POOR)):
            fill(run.data(POOR))
            run.start_daemons(POOR)
            child = run.processes.pop(name_of(POOR))
            assert child.wait(PATIENCE) == 2
            (line,) = run.said(POOR)
            assert str(run.data(POOR)) in line
            assert "disk is full" in line or "No space left on device" in line
            empty(run.data(POOR))
            run.start_daemons(*range(SIZE))
            await run.until_together(*range(SIZE))
            await more_decisions(run, 2)
            fill(run.data(POOR))
            await more_decisions(run, 6)
            run.check_children()
            assert [event for event in run.life(POOR) if event["level"] in ("warning", "error")], "it says so"
            empty(run.data(POOR))
            await until_all_proposed(run, Nanoseconds(time.time_ns()))
            run.check_children()
            told = await run.told()
            check_signatures(run, told)
            await check_agreement(run, told)
