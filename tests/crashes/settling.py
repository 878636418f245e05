"""A run that settles all the time, of two real daemons and a third that is away, on a localnet that may be killed."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import coincurve

from node.founding import Terms, found_run
from node.identity import Identity, create, load
from protocol.fields import canonical
from protocol.ids import AccountId, PublicKey, Tinybar
from protocol.motions import EndBody, EndRecord
from protocol.params import LearnerRef, Params
from protocol.records import Member
from protocol.signing import sign
from tests.children import Children, free_ports
from tests.crashes.proxy import Proxy, proxy_to
from tests.e2e.founded import write_toml
from tests.node.nodes import INITIAL
from tests.node.world import SPEC

HBAR = 100_000_000
POOL = Tinybar(500 * HBAR)
NO_ACCOUNT = AccountId("0.0.0")
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


@dataclass(kw_only=True)
class Settling(Children):
    """The run's network, its daemons, and what they are made of."""

    proxy: Proxy
    payers: list[AccountId] = field(default_factory=list)
    payees: list[AccountId] = field(default_factory=list)
    treasury: AccountId = NO_ACCOUNT

    def start_daemon(self, place: int) -> None:
        """Start a member's daemon."""
        folders = [self.home / f"data-{each}" for each in ALIVE]
        self.start(f"daemon-{place}", "tests.crashes.daemon", self.home / f"{place}.toml", *folders)

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
            run = Settling(home=home, ports=ports, stack=stack, proxy=proxy)
            try:
                await run.start_localnet()
                await run.found()
                yield run
            finally:
                run.stop()
