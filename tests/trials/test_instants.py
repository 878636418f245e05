"""Death at instants chosen by hand: whatever was half done is done, or undone, by the daemon's next life."""

import logging
import time
from pathlib import Path

import anyio

from protocol.ids import Nanoseconds
from tests.trials.conduct import (
    check_agreement,
    check_signatures,
    journal,
    until_all_proposed,
)
from tests.trials.dying import INSTANTS
from tests.trials.orphans import learners_of, wait_until_gone
from tests.trials.trial import PATIENCE, Trial, name_of, trial

SIZE = 3
DYING = 0
RULES = {"round_window": 3, "inactive_after": 20}

log = logging.getLogger(__name__)


async def test_a_daemon_goes_on_from_wherever_it_was_killed(tmp_path: Path) -> None:
    async with trial(tmp_path, SIZE, **RULES) as run:
        run.start_daemons(*(place for place in range(SIZE) if place != DYING))
        for instant in INSTANTS:
            await die(run, instant)
        halves = list((run.data(DYING) / "blobs").glob("*.tmp*"))
        assert halves, "it died with a file half done"
        signed = journal(run, DYING)
        run.start_daemons(DYING)
        await run.until_together(*range(SIZE))
        assert not [half for half in halves if half.exists()], "what was half done is gone"
        await until_all_proposed(run, Nanoseconds(time.time_ns()))
        run.check_children()
        assert signed.items() <= journal(run, DYING).items(), "it takes nothing back"
        told = await run.told()
        check_signatures(run, told)
        await check_agreement(run, told)


async def die(run: Trial, instant: str) -> None:
    """Start the daemon, which ends at an instant; it leaves no learner behind."""
    home = run.home / f"{DYING}.toml"
    run.before[DYING] = len(run.events(DYING))
    child = run.start(name_of(DYING), "tests.trials.dying", instant, "node", "--config", home)
    learners: list[int] = []
    with anyio.fail_after(PATIENCE):
        while child.poll() is None:
            learners = learners_of(child.pid) or learners
            await anyio.sleep(0.1)
    assert child.returncode == -9, (instant, run.said(DYING))
    assert learners
    await wait_until_gone(learners)
    del run.processes[name_of(DYING)]


async def test_a_learner_ends_with_its_daemon_also_while_it_trains(tmp_path: Path) -> None:
    async with trial(tmp_path, 1, learner={"pause": 30}, round_window=60) as run:
        run.start_daemons(0)
        await run.until_true(lambda: run.takes_part(0), "it takes part")
        daemon = run.processes[name_of(0)]
        half = run.data(0) / "blobs"
        await run.until_true(lambda: bool(list(half.glob("*.tmp"))), "it trains")
        learners = learners_of(daemon.pid)
        assert len(learners) == 1
        run.kill(name_of(0))
        await wait_until_gone(learners)
