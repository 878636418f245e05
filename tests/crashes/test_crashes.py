"""Kill -9 at any moment of a run that settles: no record and no payment is lost, or done twice.

The daemon that is killed finds the consensus node through a proxy, which has it killed, or has the network
killed, at an exact request: before the node has it, or when it is done and nobody has been told.
"""

import logging
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from ledger.lookup import transfer_of
from ledger.mirror import Mirror
from ledger.outbox import Message, Outbox
from ledger.pages import TransactionEntry
from ledger.topic import TopicMessage
from protocol.ids import Tinybar
from protocol.money import liabilities
from protocol.parse import parse_record
from protocol.state import RunState
from protocol.transfers import Transfer
from tests.crashes.proxy import Point
from tests.crashes.settling import ALIVE, Settling, settling
from tests.e2e.conftest import roundabout
from tests.protocol.world import is_conserved
from tests.topic_reading import Topic

FURTHEST = 50
"""Pieces that pass the proxy until somebody is killed, at most: about a round."""
PATIENCE = 20.0

log = logging.getLogger(__name__)


def point_of(chance: random.Random) -> Point:
    return Point(chance.choice(["before", "after"]), chance.randrange(1, FURTHEST))


async def kill(run: Settling, name: str, chance: random.Random) -> bool:
    """Kill a process at a random point; whether the first daemon was writing something then."""
    point = point_of(chance)
    run.proxy.kill_at(point, lambda: run.kill(name))
    with anyio.move_on_after(PATIENCE) as waited:
        await run.proxy.fired.wait()
    assert not waited.cancelled_caught, f"nothing passes the proxy any more: see the logs in {run.home}"
    unsettled = pending(run, 0)
    log.info("killed %s %s piece %d, with %d records unsettled", name, point.when, point.number, unsettled)
    return unsettled > 0


@pytest.mark.parametrize(
    ("daemons", "localnets"),
    [
        (2, 2),
        pytest.param(50, 0, marks=[pytest.mark.slow, pytest.mark.timeout(1_500)]),
        pytest.param(0, 50, marks=[pytest.mark.slow, pytest.mark.timeout(1_500)]),
    ],
)
async def test_whoever_is_killed_nothing_is_lost_or_done_twice(
    tmp_path: Path, daemons: int, localnets: int
) -> None:
    chance = random.Random(f"{daemons} daemons, {localnets} networks")
    async with settling(tmp_path) as run:
        for place in ALIVE:
            # Only the calls of the first daemon pass the proxy.
            run.configure(place, run.proxy.port if place == 0 else run.ports[0])
            run.start_daemon(place)
        hits = 0
        for _ in range(daemons):
            hits += await kill(run, "daemon-0", chance)
            run.start_daemon(0)
        for _ in range(localnets):
            hits += await kill(run, "localnet", chance)
            await run.start_localnet()
        log.info("%d of %d kills hit a record on its way", hits, daemons + localnets)
        before = await run.state()
        await run.until(lambda state: state.money.settlements > before.money.settlements)
        await run.end()
        await run.until(is_wound_up)
        with anyio.fail_after(PATIENCE):
            while any(pending(run, place) for place in ALIVE):
                await anyio.sleep(0.1)
        for place in ALIVE:
            assert run.processes[f"daemon-{place}"].poll() is None, "a daemon that nobody killed has ended"
            run.kill(f"daemon-{place}")
        await check(run)


def is_wound_up(state: RunState) -> bool:
    money = state.money
    return money.wound_up and money.settlement is None and not money.owed


def pending(run: Settling, place: int) -> int:
    """Submissions of a daemon's that are not settled yet."""
    path = run.home / f"data-{place}" / "outbox.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as outbox:
        (count,) = outbox.execute("SELECT count(*) FROM entries WHERE state = 'pending'").fetchone()
    return int(count)


async def check(run: Settling) -> None:
    """Compare the topic, the ledger, and the outboxes, with one another."""
    async with Mirror(run.network.mirror_rest) as mirror:
        told = await Topic(run.topic).read(mirror)
        entries = await mirror.transactions(run.treasury)
        balance = (await mirror.account(run.treasury)).balance.balance
        held = [(await mirror.account(payee)).balance.balance for payee in run.payees]
    messages, state = [each.message for each in told], told[-1].state
    effects = {each.message.sequence for each in told if each.error is None}
    assert state is not None
    transfers = [transfer_of(TransactionEntry.model_validate(entry)) for entry in entries]
    check_payments(run, messages, effects, state, transfers)
    assert balance == liabilities(state.money), "the treasury holds what it owes"
    assert held == [dict(state.money.paid).get(payee, 0) for payee in run.payees]
    assert is_conserved(state)
    check_records(run, messages, effects)
    audited = await anyio.to_thread.run_sync(
        roundabout, "audit", "--topic", run.topic, "--mirror", run.network.mirror_rest
    )
    assert audited.returncode == 0, audited.stdout + audited.stderr


def check_payments(
    run: Settling, messages: list[TopicMessage], effects: set[int], state: RunState, entries: list[Transfer]
) -> None:
    """Each settlement was opened once, closed once, and paid once where it was not closed as failed."""
    opened: dict[int, int] = {}
    closed: dict[int, str] = {}
    for message in messages:
        record = parse_record(message.body)
        if message.sequence not in effects or record.op not in ("settle", "settled", "failed"):
            continue
        where = opened if record.op == "settle" else closed
        assert record.number not in where, f"two effects of {record.op} {record.number}"
        where[record.number] = message.sequence if record.op == "settle" else record.op
    everything = [*range(1, state.money.settlements + 1)]
    assert sorted(opened) == sorted(closed) == everything
    paid = [each for each in entries if each.moved(run.treasury) < 0 and each.succeeded]
    settled = [str(opened[number]) for number in everything if closed[number] == "settled"]
    assert Counter(each.memo for each in paid) == Counter(settled), "a payment lost, doubled, or of nothing"
    received: Counter[str] = Counter()
    for each in paid:
        received.update({account: moved for account, moved in each.moves if moved > 0})
    for account, amount in state.money.paid:
        assert received[account] == amount
    earned = sum(amount for _, amount in state.money.earned)
    figures = {
        "messages": len(messages),
        "effects": len(effects),
        "rounds": state.last.number if state.last else 0,
        "settlements": len(opened),
        "failed": len(opened) - len(settled),
        "earned": earned,
    }
    log.info("%s", figures)


def check_records(run: Settling, messages: list[TopicMessage], effects: set[int]) -> None:
    """What the daemons' outboxes say was written is on the topic, as often; and nothing was written in vain twice."""
    copies: dict[tuple[str, bytes], list[int]] = {}
    for message in messages:
        copies.setdefault((message.payer, message.body), []).append(message.sequence)
    for (payer, body), sequences in copies.items():
        with_effect = [sequence for sequence in sequences if sequence in effects]
        assert len(with_effect) <= 1, f"two effects of one record: {body!r}"
        assert not with_effect or with_effect == sequences[-1:], (
            f"{payer} repeats what had its effect: {body!r}"
        )
    bodies = Counter(message.body for message in messages if message.sequence in effects)
    assert not bodies or max(bodies.values()) == 1
    for place in ALIVE:
        ours = Counter(message.body for message in messages if message.payer == run.payers[place])
        with Outbox.open(run.home / f"data-{place}" / "outbox.db", Tinybar(10**15)) as outbox:
            owner = f"localnet {run.payers[place]}"
            assert outbox.pending(owner) == ()
            entries = outbox._entries(owner, "state != 'pending'")
        assert {entry.state for entry in entries} == {"done"}
        written = Counter(entry.deed.body for entry in entries if isinstance(entry.deed, Message))
        assert written == ours, "a record was lost, or is on the topic twice"
        log.info(
            "daemon %d wrote %d records, %d of them again", place, ours.total(), ours.total() - len(ours)
        )
    genesis, fund = (parse_record(message.body).op for message in messages[:2])
    assert (genesis, fund) == ("genesis", "fund")
    assert {1, 2} <= effects
