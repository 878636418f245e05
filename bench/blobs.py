"""How long a large model takes from a proposer to its voters, over the real network: processes, Noise, store and all.

    python -m bench.blobs [--megabytes 100] [--voters 4] [--json]

Beside it, in the same run, a plain asyncio TCP copy of the same bytes from one process to as many: the limit.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import click
import trio

from node.blobs import Blobs
from node.identity import identity_of
from node.net.transport import Connected
from node.net.wire.host import open_wire
from node.pieces import Wanted
from protocol.ids import Digest, PeerId

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
READ = 262_144


@click.command()
@click.option("--megabytes", default=100, show_default=True)
@click.option("--voters", default=4, show_default=True)
@click.option("--turns", default=3, show_default=True, help="The best of so many counts.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--part", default="", hidden=True)
def main(megabytes: int, voters: int, turns: int, as_json: bool, part: str) -> None:
    """Measure a large model's way to its voters."""
    if part:
        {"node": node, "serve": serve_plainly, "copy": copy_plainly}[part]()
        return
    size = megabytes * 1_000_000
    found = []
    for _ in range(turns):
        found.append({"roundabout": swarm(size, voters), "tcp": plain(size, voters)})
        if not as_json:
            click.echo(json.dumps(found[-1]))
    best = {name: min((turn[name] for turn in found), key=lambda each: each["seconds"]) for name in found[0]}
    result = {"megabytes": megabytes, "voters": voters, "turns": turns, **best}
    result["ratio"] = round(best["roundabout"]["seconds"] / best["tcp"]["seconds"], 2)
    if as_json:
        click.echo(json.dumps(result))
    else:
        for name, value in result.items():
            click.echo(f"{name}: {value}")


class Child:
    """A process that is told things and answers, one JSON line each."""

    def __init__(self, part: str) -> None:
        command = [sys.executable, "-m", "bench.blobs", "--part", part]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def tell(self, what: object) -> None:
        """Say something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Wait for an answer."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def children(part: str, count: int) -> Iterator[list[Child]]:
    """Some processes, which are gone afterwards."""
    with ExitStack() as stack:
        made = [Child(part) for _ in range(count)]
        for child in made:
            stack.callback(child.end)
        yield made


def swarm(size: int, voters: int) -> dict[str, Any]:
    """One proposer, so many voters, all connected to each other."""
    with tempfile.TemporaryDirectory() as home, children("node", voters + 1) as nodes:
        for place, each in enumerate(nodes):
            each.tell({"place": place, "home": f"{home}/{place}", "size": size, "count": voters + 1})
        said = [each.hear() for each in nodes]
        for each in nodes:
            each.tell({one["peer"]: one["address"] for one in said})
        ready = [each.hear() for each in nodes]
        blob = ready[0]
        started = time.perf_counter()
        for each in nodes[1:]:
            each.tell(blob)
        done = [each.hear() for each in nodes[1:]]
        seconds = time.perf_counter() - started
        nodes[0].tell("how much?")
        proposer = nodes[0].hear()
    return {
        "seconds": round(seconds, 3),
        "proposer_copies": round(proposer["sent"] / size, 3),
        "cpu_proposer": proposer["cpu"],
        "cpu_voters": round(sum(each["cpu"] for each in done), 3),
    }


def node() -> None:
    """One node: the first one has the blob, the others fetch it."""
    trio.run(_node)


async def _node() -> None:
    told = await _told()
    place, count = told["place"], told["count"]
    members = [identity_of(hashlib.sha256(f"bench {n}".encode()).digest()) for n in range(count)]
    blobs = Blobs(Path(told["home"]))
    addresses: dict[PeerId, str] = {}
    async with open_wire(members[place].secret, ANYWHERE, addresses, blobs) as wire:
        _say({"peer": wire.peer, "address": wire.address})
        addresses |= await _told()
        wire.admit(frozenset(addresses))
        connected = 0
        async for event in wire.inbound():
            connected += isinstance(event, Connected)
            if connected == count - 1:
                break
        blob = {}
        if place == 0:
            digest = blobs.put(os.urandom(told["size"]))
            blob = {"digest": digest, "size": told["size"], "pieces": blobs.pieces_of(digest)}
        cpu = time.process_time()
        _say(blob)
        wanted = await _told()
        if place:
            sources = [member.peer for member in members if member.peer != wire.peer]
            partial = blobs.begin(Wanted(Digest(wanted["digest"]), wanted["size"], wanted["pieces"]))
            blobs.share(partial)
            await wire.fetch(partial, tuple(sources), _blame)
            await anyio.to_thread.run_sync(blobs.finish, partial)
        sent = sum(contact.sent for contact in wire.contacts())
        _say({"cpu": round(time.process_time() - cpu, 3), "sent": sent})
        await trio.sleep_forever()


def _blame(peer: PeerId, cause: str) -> None:
    click.echo(f"{peer}: {cause}", err=True)


def plain(size: int, voters: int) -> dict[str, Any]:
    """The same bytes from one process to as many others over plain TCP, and nothing else."""
    with children("serve", 1) as (server,), children("copy", voters) as copiers:
        server.tell(size)
        port = server.hear()
        for each in copiers:
            each.tell(port)
            each.hear()
        started = time.perf_counter()
        for each in copiers:
            each.tell("go")
        done = [each.hear() for each in copiers]
        seconds = time.perf_counter() - started
        server.tell("how much?")
        cpu = server.hear()
    assert all(each["bytes"] == size for each in done)
    return {
        "seconds": round(seconds, 3),
        "cpu_server": cpu,
        "cpu_copiers": round(sum(each["cpu"] for each in done), 3),
    }


def serve_plainly() -> None:
    """Send the bytes to whoever connects."""
    size = json.loads(sys.stdin.readline())
    data = os.urandom(size)

    async def serve() -> None:
        async def on_client(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for start in range(0, size, READ):
                writer.write(data[start : start + READ])
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(on_client, "127.0.0.1", 0)
        _say(server.sockets[0].getsockname()[1])
        cpu = time.process_time()
        await asyncio.to_thread(sys.stdin.readline)
        _say(round(time.process_time() - cpu, 3))

    asyncio.run(serve())


def copy_plainly() -> None:
    """Read all that is sent."""
    port = json.loads(sys.stdin.readline())
    _say("ready")
    sys.stdin.readline()

    async def copy() -> None:
        cpu = time.process_time()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while data := await reader.read(READ):
            count += len(data)
        writer.close()
        _say({"bytes": count, "cpu": round(time.process_time() - cpu, 3)})

    asyncio.run(copy())


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _told() -> dict[str, Any]:
    line = await anyio.to_thread.run_sync(sys.stdin.readline)
    return cast("dict[str, Any]", json.loads(line))


if __name__ == "__main__":
    main()
