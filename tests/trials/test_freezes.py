"""SIGSTOP: the others go on without the member that stands still, and it comes back, blameless."""

import logging
import time
from pathlib import Path

import anyio
import pytest

from protocol.ids import SECOND, Nanoseconds
from tests.trials.conduct import (
    DECIDED,
    check_agreement,
    check_signatures,
    more_decisions,
    rounds_of,
    until_all_proposed,
)
from tests.trials.trial import name_of, trial

FROZEN = 1

log = logging.getLogger(__name__)


@pytest.mark.parametrize(
    ("size", "seconds", "window"),
    [(3, 12.0, 4), pytest.param(5, 60.0, 4, marks=[pytest.mark.slow, pytest.mark.timeout(400)])],
)
async def test_who_is_frozen_comes_back(tmp_path: Path, size: int, seconds: float, window: int) -> None:
    async with trial(tmp_path, size, round_window=window, inactive_after=2) as run:
        run.start_daemons(*range(size))
        await run.until_together(*range(size))
        await more_decisions(run, 1)
        frozen = Nanoseconds(time.time_ns())
        run.freeze(name_of(FROZEN))
        await anyio.sleep(seconds)
        run.thaw(name_of(FROZEN))
        thawed = Nanoseconds(time.time_ns())
        back = (await until_all_proposed(run, thawed, FROZEN))[-1].closed
        await run.until_together(*range(size))
        after = await until_all_proposed(run, back)
        assert all(each.ending in DECIDED for each in after), after
        run.check_children()
        told = await run.told()
        rounds = rounds_of(told)
        meanwhile = [each for each in rounds if frozen < each.opened and each.closed <= thawed]
        undecided = [each for each in meanwhile if each.ending not in DECIDED]
        assert all(each.proposer == FROZEN for each in undecided), "only who is away loses a turn"
        assert len(undecided) <= 2, "whoever is away is skipped"
        assert len(meanwhile) - len(undecided) >= 2, "the others go on"
        check_signatures(run, told)
        await check_agreement(run, told)
        log.info(
            "frozen for %g s: %d rounds meanwhile, %d of them undecided; its own proposal accepted %.1f s after",
            seconds, len(meanwhile), len(undecided), (back - thawed) / SECOND,
        )  # fmt: skip
