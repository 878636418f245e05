"""A run that settles all the time, of two real daemons and a third that is away, on a localnet that may be killed."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import coincurve

from ledger.hedera import Hedera, Network, open_hedera
from ledger.localnet.description import read_description
from ledger.mirror import Mirror
from node.founding import Terms, found_run
from node.identity import Identity, create, load
from node.reading import read_run
from protocol.fields import canonical
from protocol.ids import AccountId, PublicKey, Tinybar, TopicId
from protocol.motions import EndBody, EndRecord
from protocol.params import LearnerRef, Params
from protocol.records import Member
from protocol.signing import sign
from protocol.state import RunState
from tests.crashes.proxy import Proxy, proxy_to
from tests.e2e.founded import write_toml
from tests.ledger.localnet_process import ROOT
from tests.node.nodes import INITIAL
from tests.node.world import SPEC

HBAR = 100_000_000
POOL = Tinybar(500 * HBAR)
NO_TOPIC, NO_ACCOUNT = TopicId("0.0.0"), AccountId("0.0.0")
ALIVE = (0, 1)
"""Members whose daemons run; the treasury needs both."""
RULES = {
    "round_window": 1,
    "inactive_after": 2,
    "reward_vote": 100_000,
    "reward_proposal": 1_000_000,
    "settle_every": 1,
    "settle_window": 60,
    "settle_fee": HBAR // 10,
}


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
class Settling:
    """The run's network, its daemons, and what they are made of."""

    home: Path
    ports: list[int]
    stack: ExitStack
    proxy: Proxy
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    payers: list[AccountId] = field(default_factory=list)
    payees: list[AccountId] = field(default_factory=list)
    topic: TopicId = NO_TOPIC
    treasury: AccountId = NO_ACCOUNT

    # ---- processes ----

    def start(
        self, name: str, module: str, *arguments: object, **options: object
    ) -> "subprocess.Popen[bytes]":
        """Start one, or start it again; what it logs is appended to its file."""
        log = self.stack.enter_context((self.home / f"{name}.log").open("ab"))
        command = [sys.executable, "-m", module, *map(str, arguments)]
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

    def start_daemon(self, place: int) -> None:
        """Start a member's daemon."""
        folders = [self.home / f"data-{each}" for each in ALIVE]
        self.start(f"daemon-{place}", "tests.crashes.daemon", self.home / f"{place}.toml", *folders)

    def kill(self, name: str) -> None:
        """End one like a power cut does, but for what is in the machine's memory."""
        self.processes[name].kill()
        self.processes[name].wait(10)

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

    def identity(self, place: int) -> Identity:
        return load(self.home / f"{place}.pem")

    async def found(self) -> None:
        """A run of three, whose money is paid to accounts that have no other."""
        roster = []
        async with self.operator() as operator:
            for place in range(3):
                key = create(self.home / f"{place}.pem").public_key
                self.payers.append(await operator.create_account(key, Tinybar(10_000 * HBAR)))
                nobody = PublicKey(coincurve.PrivateKey().public_key.format())
                self.payees.append(await operator.create_account(nobody, Tinybar(0)))
                roster.append(Member(peer=self.identity(place).peer, account=self.payees[place]))
            rules = Params(learner=LearnerRef(name=SPEC.name, spec=SPEC.digest()), initial=INITIAL, **RULES)
            founded = await found_run(operator, rules, roster, "a run that settles", Terms(2, POOL))
        assert founded.treasury is not None
        self.topic, self.treasury = founded.topic, founded.treasury

    def configure(self, place: int, node: int) -> None:
        """Write a member's node.toml; node: the port at which it finds the consensus node."""
        network = self.network
        ledger = {
            "network": "localnet",
            "account": self.payers[place],
            "topic": self.topic,
            "mirror": network.mirror_rest,
            "mirror_grpc": network.mirror_grpc,
            "spend_limit": 10**15,
        }
        tables: dict[str, object] = {
            "": {"data": f"data-{place}"},
            "identity": {"file": str(self.home / f"{place}.pem")},
            "ledger": ledger,
            "ledger.nodes": {"0.0.3": f"127.0.0.1:{node}"},
            "learner": {"name": "stub"},
            "log": {"format": "json"},
        }
        write_toml(self.home / f"{place}.toml", tables)

    # ---- the run ----

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

    async def end(self) -> None:
        """Have the members end the run."""
        state = await self.state()
        body = EndBody(run=state.run, number=1)
        signed = tuple((place, sign(self.identity(place).secret, "end", body)) for place in range(3))
        async with self.operator() as operator:
            await operator.submit(self.topic, canonical(EndRecord(body=body, signatures=signed)))


@asynccontextmanager
async def settling(home: Path) -> AsyncIterator[Settling]:
    """A run that has been founded and funded; its daemons are not started yet."""
    ports = free_ports(random.Random(os.urandom(8)), 3)
    with ExitStack() as stack:
        async with proxy_to(ports[0]) as proxy:
            run = Settling(home, ports, stack, proxy)
            try:
                await run.start_localnet()
                await run.found()
                yield run
            finally:
                run.stop()
