"""A process that writes numbered messages and makes numbered transfers through an outbox, until it is killed.

Prints a line once the network is open, and `done` at the end. Run by test_outbox_crash.
"""

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from ledger.hedera import Hedera, Network, open_hedera
from ledger.outbox import UNLIMITED, Outbox
from protocol.ids import AccountId, Tinybar, TopicId


async def main(told: dict[str, Any]) -> None:
    network = Network("localnet", told["nodes"], told["mirror_rest"], told["mirror_grpc"])
    with Outbox.open(Path(told["outbox"]), UNLIMITED) as outbox:
        async with (
            open_hedera(network, AccountId(told["account"]), told["key"], outbox=outbox) as hedera,
            anyio.create_task_group() as tasks,
        ):
            say("open")
            for number in range(told["count"]):
                tasks.start_soon(write, hedera, told, number)
                tasks.start_soon(pay, hedera, told, number)
    say("done")


async def write(hedera: Hedera, told: dict[str, Any], number: int) -> None:
    # Every third message takes three chunks.
    body = f"{number} ".encode() + (b"." * 2_500 if number % 3 == 0 else b"")
    await hedera.submit(TopicId(told["topic"]), body, key=f"message {number}")


async def pay(hedera: Hedera, told: dict[str, Any], number: int) -> None:
    await hedera.transfer(
        AccountId(told["payee"]), Tinybar(1_000 + number), f"transfer {number}", key=f"transfer {number}"
    )


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.stdin.read()), backend=sys.argv[1])
