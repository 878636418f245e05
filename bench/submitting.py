"""What it costs to put a message on a topic and wait for its receipt, next to the bare SDK on the same network."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from ledger.hedera import Hedera, open_hedera
from ledger.hedera import Network as OurNetwork
from ledger.hiero import (
    AccountId,
    Client,
    Network,
    PrivateKey,
    TopicId,
    TopicMessageSubmitTransaction,
    _Node,
)
from ledger.localnet.description import Description, read_description
from ledger.outbox import UNLIMITED, Outbox
from protocol import ids

BODY_BYTES = 900
"""A verdict's length with four votes: one chunk."""


@contextmanager
def localnet(folder: Path) -> Iterator[Description]:
    """An embedded Hedera network as a process."""
    command = [sys.executable, "-m", "ledger.localnet", "--dir", str(folder), "--any-port"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            yield read_description(folder)
        finally:
            child.terminate()


def measure(folder: Path, count: int, repeats: int) -> dict[str, Any]:
    """Milliseconds a message, one after the other, messages a second, and the time next to the bare SDK's."""
    with localnet(folder) as description:
        return anyio.run(_measure, description, folder, count, repeats)


async def _measure(description: Description, folder: Path, count: int, repeats: int) -> dict[str, Any]:
    network = OurNetwork("localnet", description.nodes, description.mirror_rest, description.mirror_grpc)
    account, client = ids.AccountId(description.operator_account), _client_of(description)
    key = description.operator_key
    samples: dict[str, list[list[float]]] = {"bare": [], "in_memory": [], "on_disk": []}
    with Outbox.open(folder / "outbox.sqlite", UNLIMITED) as outbox:
        async with (
            open_hedera(network, account, key) as in_memory,
            open_hedera(network, account, key, outbox=outbox) as on_disk,
        ):
            topic = await in_memory.create_topic()
            for turn in range(-1, repeats):  # the first one warms up
                samples["bare"].append(await to_thread.run_sync(_bare, client, topic, count))
                samples["in_memory"].append(await _ours(in_memory, topic, count, f"memory {turn}"))
                samples["on_disk"].append(await _ours(on_disk, topic, count, f"disk {turn}"))
            client.close()
    return {
        "messages": count * repeats,
        **{name: _figures(turns[1:], samples["bare"][1:]) for name, turns in samples.items()},
    }


def _figures(turns: list[list[float]], bare: list[list[float]]) -> dict[str, float]:
    seconds = [second for turn in turns for second in turn]
    return {
        "ms": round(1e3 * statistics.median(seconds), 2),
        "per_s": round(len(seconds) / sum(seconds)),
        "ratio": round(statistics.median(sum(a) / sum(b) for a, b in zip(turns, bare, strict=True)), 2),
    }


async def _ours(hedera: Hedera, topic: ids.TopicId, count: int, name: str) -> list[float]:
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        await hedera.submit(topic, f"{name} {number} ".encode().ljust(BODY_BYTES, b"."))
        seconds.append(time.perf_counter() - began)
    return seconds


def _bare(client: Client, topic: ids.TopicId, count: int) -> list[float]:
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        transaction = TopicMessageSubmitTransaction(
            topic_id=TopicId.from_string(topic), message=f"{number} ".ljust(BODY_BYTES, ".")
        )
        transaction.execute(client, validate_status=True)
        seconds.append(time.perf_counter() - began)
    return seconds


def _client_of(description: Description) -> Client:
    Network.MIRROR_NODE_URLS["localnet"] = description.mirror_rest
    nodes = [_Node(AccountId.from_string(name), at, None) for name, at in description.nodes.items()]
    client = Client(Network("localnet", nodes=nodes, mirror_address=description.mirror_grpc))
    client.set_operator(
        AccountId.from_string(description.operator_account), PrivateKey.from_string(description.operator_key)
    )
    return client
