"""Partitions between members, and from the ledger, in network namespaces: rounds end, and are decided once it heals."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from protocol.ids import SECOND, Nanoseconds
from tests.trials.conduct import (
    DECIDED,
    RoundOf,
    check_agreement,
    check_signatures,
    more_decisions,
    rounds_of,
    until_all_proposed,
)
from tests.trials.islands import LEDGER, Islands, islands, ledger_at, why_not
from tests.trials.trial import Trial, trial

SIZE = 5
MANY, FEW = (0, 1, 2), (3, 4)
LONG = [pytest.mark.slow, pytest.mark.timeout(600)]

log = logging.getLogger(__name__)


@pytest.fixture(autouse=True)
def _is_possible() -> None:
    """Skips, and says why, where it is not."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize(("window", "seconds"), [(4, 10.0), pytest.param(4, 60.0, marks=LONG)])
@pytest.mark.parametrize("cut_off", ["few", pytest.param("ledger", marks=LONG)])
async def test_every_round_ends_while_cut_and_is_decided_once_it_heals(
    tmp_path: Path, cut_off: str, window: int, seconds: float
) -> None:
    async with scattered(tmp_path, window) as (run, net):
        cut = Nanoseconds(time.time_ns())
        net.cut(FEW, MANY if cut_off == "few" else (LEDGER,))
        await anyio.sleep(seconds)
        net.heal()
        healed = Nanoseconds(time.time_ns())
        await run.until_together(*range(SIZE))
        # A connection that was cut for a while is not whole at once: TCP waits ever longer to send again.
        await until_all_proposed(run, healed)
        together = Nanoseconds(time.time_ns())
        after = await until_all_proposed(run, together)
        assert all(each.ending in DECIDED for each in after), after
        run.check_children()
        told = await run.told()
        rounds = rounds_of(told)
        meanwhile = [each for each in rounds if cut < each.opened and each.closed <= healed]
        check_deadlines(meanwhile, window)
        check_signatures(run, told)
        await check_agreement(run, told)
        undecided = [each for each in meanwhile if each.ending not in DECIDED]
        log.info(
            "cut (%s) for %g s: %d rounds meanwhile, %d of them closed undecided; "
            "all proposals decided again %.1f s after",
            cut_off, seconds, len(meanwhile), len(undecided), (together - healed) / SECOND,
        )  # fmt: skip


def check_deadlines(rounds: list[RoundOf], window: int) -> None:
    """Each was decided, or closed by its deadline and what SPEC.md, step, allows for that."""
    assert rounds, "the run stood still"
    back_off = window * SECOND // 10
    margin = SECOND + (SIZE - 1) * back_off + 2 * SECOND  # the last for a busy machine
    for each in rounds:
        assert each.ending in DECIDED or each.closed <= each.deadline + margin, each


@asynccontextmanager
async def scattered(home: Path, window: int) -> AsyncIterator[tuple[Trial, Islands]]:
    """A run of five whose members are each on an island, connected with all others."""
    async with (
        islands(SIZE) as net,
        trial(home, SIZE, net.homes(), round_window=window, inactive_after=4) as run,
        ledger_at(net.address(LEDGER), run.ports),
    ):
        run.start_daemons(*range(SIZE))
        await run.until_together(*range(SIZE))
        await more_decisions(run, 1)
        yield run, net
