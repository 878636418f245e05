"""Kill -9 at random points of a run on libp2p and a localnet: every round after healing is decided, and all agree."""

import logging
import random
import time
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from protocol.ids import SECOND, Nanoseconds
from tests.trials.conduct import (
    DECIDED,
    RoundOf,
    check_agreement,
    check_signatures,
    decided_between,
    more_decisions,
    rounds_of,
    until_all_proposed,
)
from tests.trials.orphans import learners_of, wait_until_gone
from tests.trials.trial import Trial, name_of, trial

WINDOW = 4
LEDGER = "localnet"

log = logging.getLogger(__name__)


async def strike(run: Trial, chance: random.Random) -> Nanoseconds:
    """Kill a daemon, or now and then the network, at a random moment, and start it again; when it was killed."""
    victim = chance.choice([LEDGER, *(name_of(place) for place in range(run.size))])
    await anyio.sleep(chance.uniform(0, 2))
    learners = [] if victim == LEDGER else learners_of(run.processes[victim].pid)
    run.kill(victim)
    struck = Nanoseconds(time.time_ns())
    await wait_until_gone(learners)
    await anyio.sleep(chance.uniform(0, 1))
    if victim == LEDGER:
        await run.start_localnet()
    else:
        run.start_daemons(int(victim.removeprefix("daemon-")))
    return struck


async def heal(run: Trial) -> Nanoseconds:
    """Wait until all take part and are connected with one another: when that was. One more round is decided then."""
    await run.until_together(*range(run.size))
    healed = Nanoseconds(time.time_ns())
    await more_decisions(run, 1)
    return healed


@pytest.mark.parametrize(
    ("size", "kills"),
    [(3, 3), pytest.param(5, 30, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])],
)
async def test_whoever_is_killed_every_round_after_healing_is_decided(
    tmp_path: Path, size: int, kills: int
) -> None:
    chance = random.Random(f"{size} daemons, {kills} kills")
    calm: list[tuple[Nanoseconds, Nanoseconds]] = []
    recoveries: list[float] = []
    async with trial(tmp_path, size, round_window=WINDOW, inactive_after=3) as run:
        run.start_daemons(*range(size))
        healed = await heal(run)
        left = kills
        while left:
            # One time in four a second one is killed before the first one is back.
            struck = [await strike(run, chance) for _ in range(min(left, chance.choice([1, 1, 1, 2])))]
            left -= len(struck)
            calm.append((healed, struck[0]))
            healed = await heal(run)
            recoveries.append((healed - struck[-1]) / SECOND)
        await until_all_proposed(run, healed)
        calm.append((healed, Nanoseconds(time.time_ns())))
        run.check_children()
        told = await run.told()
        rounds = rounds_of(told)
        decided = sum(len(decided_between(rounds, *each)) for each in calm)
        signed = check_signatures(run, told)
        await check_agreement(run, told)
    report(kills, rounds, decided, signed, recoveries)


def report(kills: int, rounds: list[RoundOf], decided: int, signed: int, recoveries: list[float]) -> None:
    endings = {ending: sum(each.ending == ending for each in rounds) for ending in {r.ending for r in rounds}}
    ends = [each.closed for each in rounds if each.ending in DECIDED]
    gaps = [(after - before) / SECOND for before, after in pairwise(ends)]
    log.info(
        "%d kills, %d rounds: %s; %d of them while all was well, all decided; %d signatures on the "
        "topic; longest without a decision: %.1f s; until all are together again: %.1f s at most, %.1f s in the "
        "median",
        kills, len(rounds), endings, decided, signed, max(gaps), max(recoveries),
        sorted(recoveries)[len(recoveries) // 2],
    )  # fmt: skip
