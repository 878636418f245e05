"""A process with an outbox is killed again and again: in the end everything was done, and done once."""

import base64
import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import anyio
import coincurve
import pytest

from ledger.hedera import Hedera, open_hedera
from ledger.outbox import Outbox
from protocol.ids import AccountId, PublicKey, Tinybar, TopicId
from tests.ledger.localnet_process import ROOT, Localnet

COUNT = 60
LONGEST = 0.6
"""Seconds that a process may live after it has opened the network: about what it needs in all."""


def killed_or_done(told: str, backend: str, seconds: float) -> bool:
    """Whether a process came to its end before it was killed, that many seconds after it had opened."""
    command = [sys.executable, "-m", "tests.ledger.outbox_child", backend]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(told)
        process.stdin.close()
        assert process.stdout.readline() == "open\n"
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        said = process.stdout.read()
        killer.cancel()
        status = process.wait(10)
    assert status in (0, -9)
    assert status != 0 or said == "done\n"
    return status == 0


@pytest.mark.parametrize(
    ("kills", "backend"),
    [
        (8, "trio"),
        pytest.param(50, "asyncio", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_whenever_it_is_killed_everything_is_done_once(localnet: Localnet, tmp_path: Path, kills, backend):
    member = coincurve.PrivateKey()

    async def set_up() -> dict[str, object]:
        async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
            account = await operator.create_account(
                PublicKey(member.public_key.format()), Tinybar(1_000 * 100_000_000)
            )
            payee = await operator.create_account(
                PublicKey(coincurve.PrivateKey().public_key.format()), Tinybar(0)
            )
            topic = await operator.create_topic()
        network = localnet.network
        return {
            "nodes": network.nodes,
            "mirror_rest": network.mirror_rest,
            "mirror_grpc": network.mirror_grpc,
            "account": account,
            "key": member.secret.hex(),
            "payee": payee,
            "topic": topic,
        }

    told = anyio.run(set_up)
    chance = random.Random(kills)
    batch = killed = 0
    while killed < kills:
        # A process that came to its end has finished a batch; the next one begins another, in its own outbox.
        told |= {"outbox": str(tmp_path / f"outbox-{batch}.db"), "count": COUNT}
        if killed_or_done(json.dumps(told), backend, chance.uniform(0, LONGEST)):
            batch += 1
        else:
            killed += 1
    assert killed_or_done(json.dumps(told), backend, 60)

    async def compare() -> None:
        async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
            await compare_with(operator, told, batch + 1)

    anyio.run(compare)
    for number in range(batch + 1):
        with Outbox.open(tmp_path / f"outbox-{number}.db") as outbox:
            assert outbox.pending(f"localnet {told['account']}") == ()


async def compare_with(operator: Hedera, told: dict[str, object], batches: int) -> None:
    """Each number is on the topic, and among the transfers, once a batch."""
    expected = Counter(dict.fromkeys(range(COUNT), batches))
    written: Counter[int] = Counter()
    with anyio.fail_after(30):
        async with aclosing(operator.topic(TopicId(str(told["topic"]))).follow()) as messages:
            async for message in messages:
                if message is None:
                    break
                number, dots = message.body.split(b" ")
                assert len(dots) == (2_500 if int(number) % 3 == 0 else 0)
                written[int(number)] += 1
    assert written == expected
    paid: Counter[int] = Counter()
    for entry in await operator.mirror.transactions(AccountId(str(told["payee"]))):
        memo = re.fullmatch(rb"transfer ([0-9]+)", base64.b64decode(entry["memo_base64"]))
        if memo is not None and entry["result"] == "SUCCESS":
            paid[int(memo[1])] += 1
    assert paid == expected
    balance = (await operator.mirror.account(AccountId(str(told["payee"])))).balance.balance
    assert balance == batches * sum(1_000 + number for number in range(COUNT))
