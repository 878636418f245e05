"""Processes of a test that may be killed, frozen and started again at any moment, a localnet among them."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from ledger.hedera import Hedera, Network, open_hedera
from ledger.localnet.description import read_description
from ledger.mirror import Mirror
from node.reading import read_run
from protocol.ids import AccountId, TopicId
from protocol.state import RunState
from tests.ledger.localnet_process import ROOT

NO_TOPIC = TopicId("0.0.0")


def free_ports(chance: random.Random, count: int) -> list[int]:
    """Ports from which no connection is dialled, so that they are free again after their process was killed."""
    found: list[int] = []
    while len(found) < count:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


@dataclass
class Children:
    """A localnet, whatever else was started beside it, and the run on it."""

    home: Path
    ports: list[int]
    """Of the localnet: consensus, mirror gRPC, mirror REST."""
    stack: ExitStack
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    topic: TopicId = NO_TOPIC

    # ---- processes ----

    def start(
        self, name: str, module: str, *arguments: object, within: Sequence[str] = (), **options: object
    ) -> "subprocess.Popen[bytes]":
        """Start one, or start it again; what it logs is appended to its file. within: a command that runs it."""
        log = self.stack.enter_context((self.home / f"{name}.log").open("ab"))
        command = [*within, sys.executable, "-m", module, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, stderr=log, env=environment, **options)  # type: ignore[call-overload]
        self.processes[name] = process
        return process  # type: ignore[no-any-return]

    async def start_localnet(self) -> None:
        """Start it, and wait until it serves."""
        (self.home / "net").mkdir(exist_ok=True)
        child = self.start(
            "localnet", "tests.crashes.localnet", self.home / "net", *self.ports, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert await anyio.to_thread.run_sync(child.stdout.readline) == b"serving\n"

    def kill(self, name: str) -> None:
        """End one like a power cut does, but for what is in the machine's memory."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def freeze(self, name: str) -> None:
        """Have one stand still, with its connections open."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Have it go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all, whatever state they are in."""
        for process in self.processes.values():
            process.kill()
            process.wait(10)

    # ---- network ----

    @property
    def network(self) -> Network:
        told = read_description(self.home / "net")
        return Network(told.network, told.nodes, told.mirror_rest, told.mirror_grpc)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Hedera]:
        """The network's own account."""
        told = read_description(self.home / "net")
        async with open_hedera(self.network, AccountId(told.operator_account), told.operator_key) as hedera:
            yield hedera

    async def state(self) -> RunState:
        """The run as the mirror shows it."""
        async with Mirror(self.network.mirror_rest) as mirror:
            return await read_run(mirror, self.topic)

    async def until(self, holds: Callable[[RunState], bool], seconds: float = 90.0) -> RunState:
        """The first state seen of which something holds."""
        with anyio.fail_after(seconds):
            while not holds(state := await self.state()):
                await anyio.sleep(0.25)
        return state
