"""Runs with a treasury on a network of our own, and the commands of their members, without any daemon."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from click.testing import CliRunner, Result

from ledger.hedera import Hedera, open_hedera
from ledger.mirror import Mirror
from node.cli.main import main
from node.founding import Terms, found_run
from node.identity import Identity, create, load
from node.reading import read_run
from protocol.fields import canonical
from protocol.ids import AccountId, Tinybar, TopicId, digest_of
from protocol.params import LearnerRef, Params
from protocol.records import Member, PassBody, PassRecord
from protocol.signing import sign
from protocol.state import RunState
from tests.e2e.founded import write_toml
from tests.ledger.localnet_process import Localnet, running_localnet

PEOPLE = 5
HBAR = 100_000_000


@dataclass
class Moneyed:
    """A network, and people with keys and accounts on it."""

    home: Path
    localnet: Localnet
    accounts: list[AccountId] = field(default_factory=list)

    def identity(self, person: int) -> Identity:
        return load(self.home / f"{person}.pem")

    def call(self, act: Callable[[Hedera], Any], person: int | None = None) -> Any:
        """Do something as a person, or as the network's operator."""
        net = self.localnet
        account = net.operator if person is None else self.accounts[person]
        key = net.key if person is None else self.identity(person).secret

        async def run() -> Any:
            async with open_hedera(net.network, account, key) as hedera:
                return await act(hedera)

        return anyio.run(run)

    def found(self, size: int = 3, terms: Terms = Terms(2), **params: Any) -> "MoneyedRun":  # noqa: B008
        """A run of the first people."""
        roster = [Member(peer=self.identity(n).peer, account=self.accounts[n]) for n in range(size)]
        rules = Params(
            learner=LearnerRef(name="stub", spec=digest_of(b"spec")), initial=digest_of(b"initial"), **params
        )
        founded = self.call(lambda hedera: found_run(hedera, rules, roster, "a run", terms))
        return MoneyedRun(self, founded.topic)


@dataclass
class MoneyedRun:
    """A run and the commands of who takes part."""

    world: Moneyed
    topic: TopicId

    def config(self, person: int) -> Path:
        """A person's node.toml for this run."""
        home = self.world.home / f"{self.topic}-{person}"
        home.mkdir(exist_ok=True)
        network = self.world.localnet.network
        tables: dict[str, object] = {
            "": {"data": "data"},
            "identity": {"file": str(self.world.home / f"{person}.pem")},
            "ledger": {
                "network": "localnet",
                "mirror": network.mirror_rest,
                "topic": self.topic,
                "account": self.world.accounts[person],
            },
            "ledger.nodes": dict(network.nodes),
            "learner": {"name": "stub"},
        }
        write_toml(home / "node.toml", tables)
        return home / "node.toml"

    def run(self, person: int, *arguments: str) -> Result:
        """A command, as that person."""
        words = 2 if arguments[0] == "motion" else 1
        called = [*arguments[:words], "--config", str(self.config(person)), *arguments[words:]]
        return CliRunner().invoke(main, called, prog_name="roundabout")

    def do(self, person: int, *arguments: str) -> dict[str, Any]:
        """The same, of which success is expected: what it says as JSON."""
        result = self.run(person, *arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    def refused(self, person: int, *arguments: str) -> str:
        """The same, of which a refusal is expected: its exit status and its one line."""
        result = self.run(person, *arguments)
        (line,) = result.stderr.splitlines()
        return f"{result.exit_code} {line}"

    def state(self) -> RunState:
        """The run as the mirror shows it."""

        async def fetch() -> RunState:
            async with Mirror(self.world.localnet.network.mirror_rest) as mirror:
                return await read_run(mirror, self.topic)

        return anyio.run(fetch)

    def put(self, raw: bytes) -> None:
        """Put a message on the topic."""
        self.world.call(lambda hedera: hedera.submit(self.topic, raw), 0)

    def pass_turns(self, until: Callable[[RunState], bool]) -> RunState:
        """Have one proposer after the other pass, until something holds."""
        people = {self.world.identity(person).peer: person for person in range(PEOPLE)}
        for _ in range(20):
            state = self.state()
            if until(state) or state.open is None:
                break
            secret = self.world.identity(people[state.roster[state.open.proposer].peer]).secret
            body = PassBody(run=state.run, round=state.open.number)
            record = PassRecord(body=body, sig=sign(secret, "pass", body))
            self.put(canonical(record))
        assert until(state)
        return state


async def _open_accounts(world: Moneyed) -> None:
    net = world.localnet
    async with open_hedera(net.network, net.operator, net.key) as hedera:
        for person in range(PEOPLE):
            key = create(world.home / f"{person}.pem").public_key
            world.accounts.append(await hedera.create_account(key, Tinybar(1_000 * HBAR)))


@contextmanager
def moneyed(home: Path) -> Iterator[Moneyed]:
    """A network, and people with keys and accounts on it."""
    (home / "net").mkdir()
    with running_localnet(home / "net") as localnet:
        world = Moneyed(home, localnet)
        anyio.run(_open_accounts, world)
        yield world
