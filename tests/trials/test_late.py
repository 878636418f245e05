"""Who comes late, with nothing: it reads the topic, gets the head from whoever has it, and takes its turn."""

import logging
import time
from pathlib import Path

import pytest

from node.blobs import stored_blob
from protocol.ids import SECOND, Nanoseconds
from protocol.state import RunState
from tests.trials.conduct import (
    check_agreement,
    check_signatures,
    more_decisions,
    rounds_of,
    until_all_proposed,
)
from tests.trials.trial import Trial, name_of, trial

SIZE = 4
EARLY, LATE = (0, 1, 2), 3
RULES = {"round_window": 3, "inactive_after": 4, "participation": 700_000}
"""Three can decide, two of three or four cannot: so the head stays while the third is away."""

log = logging.getLogger(__name__)


@pytest.mark.slow
async def test_who_comes_after_ten_rounds_gets_the_head_from_whoever_has_it(tmp_path: Path) -> None:
    """Who made that head is dead, and all that the newcomer has is a key and a configuration."""
    async with trial(tmp_path, SIZE, learner={"pause": 0.4}, **RULES) as run:
        run.start_daemons(*EARLY)
        await run.until_together(*EARLY)
        await more_decisions(run, 10)
        assert not run.data(LATE).exists()
        dead, before = await kill_the_heads_author(run)
        begun = Nanoseconds(time.time_ns())
        run.start_daemons(LATE)
        await run.until_together(*{*EARLY, LATE} - {dead})
        await run.until_true(
            lambda: stored_blob(run.data(LATE) / "blobs", before.head) is not None, "it has the head"
        )
        took = ((await until_all_proposed(run, begun, LATE))[-1].closed - begun) / SECOND
        run.check_children()
        told = await run.told()
        rounds = rounds_of(told)
        check_signatures(run, told)
        await check_agreement(run, told)
        log.info("with nothing, after %d rounds: its first proposal accepted after %.1f s", len(rounds), took)


async def kill_the_heads_author(run: Trial) -> tuple[int, RunState]:
    """Kill whoever proposed the head, which then is the head until somebody else comes; who, and the state."""
    while True:
        last = (await run.state()).last
        assert last is not None
        author = last.proposer
        run.kill(name_of(author))
        state = await run.state()
        if state.last is not None and (state.last.proposer, state.last.ending) == (author, "accepted"):
            del run.processes[name_of(author)]
            return author, state
        run.start_daemons(author)  # another one was quicker
        await run.until_together(*EARLY)
