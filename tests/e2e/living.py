"""A run that people live: founded by command, with their daemons, on a network of our own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from click.testing import CliRunner, Result

from ledger.hedera import Hedera
from ledger.mirror import Mirror
from node.cli.main import main
from node.reading import Reading
from protocol.ids import AccountId, Tinybar, TopicId
from protocol.state import RunState
from tests.e2e.conftest import ROOT, roundabout
from tests.e2e.founded import free_port, write_toml
from tests.e2e.moneyed import PEOPLE, Moneyed, MoneyedRun
from tests.learners.counting import NAME

PATIENCE = 60.0
"""Seconds for one thing to come about on a busy machine."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass
class LivingRun(MoneyedRun):
    """A run, its people's daemons and commands."""

    payees: list[AccountId] = field(default_factory=list)
    """Where each person's earnings go: accounts that have nothing else, and pay for nothing."""
    ports: list[int] = field(default_factory=list)
    daemons: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    options: dict[int, dict[str, object]] = field(default_factory=dict)
    """What each person's learner is told."""
    operator: dict[int, dict[str, object]] = field(default_factory=dict)
    """Each person's [operator]; by default they do without a view."""
    known: dict[int, Collection[int]] = field(default_factory=dict)
    """Whose addresses a person's configuration names; by default those of all people before."""
    announces: bool = False
    """Whether people put their addresses on the topic."""
    expected: set[int] = field(default_factory=set)
    """Daemons that should be running."""

    def config(self, person: int) -> Path:
        """A person's node.toml; it names where the people before are, unless `known` says whom else."""
        home, net = self.world.home / f"{self.topic}-{person}", self.world.localnet.network
        peers = {
            self.world.identity(other).peer: f"/ip4/127.0.0.1/tcp/{self.ports[other]}"
            for other in self.known.get(person, range(person))
        }
        network: dict[str, object] = {"listen": f"/ip4/127.0.0.1/tcp/{self.ports[person]}"}
        if self.announces:
            network["announce"] = "listen"
        ledger = {"network": "localnet", "mirror": net.mirror_rest, "mirror_grpc": net.mirror_grpc}
        ledger |= {"topic": self.topic, "account": self.world.accounts[person]}
        tables: dict[str, object] = {
            "": {"data": "data"},
            "identity": {"file": str(self.world.home / f"{person}.pem")},
            "network": network,
            "network.peers": peers,
            "ledger": ledger,
            "ledger.nodes": dict(net.nodes),
            "learner": {"name": NAME},
            "learner.options": {"pause": 0.5} | self.options.get(person, {}),
            "log": {"format": "json"},
            "operator": self.operator.get(person, {"enabled": False}),
        }
        home.mkdir(exist_ok=True)
        file, news = home / "node.toml", home / "news.toml"
        write_toml(news, tables)
        news.replace(file)  # a daemon may be about to read it
        return file

    # ---- daemons ----

    def log_file(self, person: int) -> Path:
        return self.config(person).parent / "node.jsonl"

    def start(self, *people: int, **options: object) -> None:
        """Start people's daemons; options: of their learners."""
        for person in people:
            self.options[person] = options
            config = self.config(person)
            with self.log_file(person).open("ab") as log:
                command = [sys.executable, "-m", "node.cli", "node", "--config", str(config)]
                self.daemons[person] = subprocess.Popen(command, cwd=ROOT, stderr=log, env=ENVIRONMENT)
            self.expected.add(person)

    def told(self, person: int) -> list[str]:
        """What a daemon has said outside of its log: the line that it ended with."""
        return [line for line in self.log_file(person).read_text().splitlines() if not line.startswith("{")]

    def events(self, person: int) -> list[dict[str, Any]]:
        """What a daemon has logged."""
        lines = self.log_file(person).read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def end_of(self, person: int) -> tuple[int, list[str]]:
        """Wait until a daemon has ended by itself: its exit status, and what it said."""
        self.expected.discard(person)
        return self.daemons[person].wait(PATIENCE), self.told(person)

    def stop(self) -> None:
        """Stop all daemons that run, as their people would; each must end well."""
        running = [daemon for daemon in self.daemons.values() if daemon.poll() is None]
        for daemon in running:
            daemon.send_signal(signal.SIGTERM)
        assert [daemon.wait(30) for daemon in running] == [0] * len(running)

    def kill(self) -> None:
        """End all daemons, whatever state they are in."""
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()

    # ---- the run ----

    def until(self, holds: Callable[[RunState], bool]) -> RunState:
        """The first state on the mirror of which something holds."""

        async def watch() -> RunState:
            async with Mirror(self.world.localnet.network.mirror_rest) as mirror:
                reading = Reading(mirror, self.topic)
                with anyio.fail_after(PATIENCE):
                    while not holds(await reading.catch_up()):
                        self.check_daemons()
                        await anyio.sleep(0.2)
                return reading.run

        return anyio.run(watch)

    def until_true(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.check_daemons()
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.1)

    def check_daemons(self) -> None:
        """Fail at once when a daemon has ended that should not have."""
        ended = {
            person: self.told(person) for person in self.expected if self.daemons[person].poll() is not None
        }
        assert not ended, ended

    def balances(self, accounts: list[AccountId]) -> list[int]:
        """What accounts have on the mirror."""

        async def ask(hedera: Hedera) -> list[int]:
            return [int((await hedera.mirror.account(each)).balance.balance) for each in accounts]

        return list(self.world.call(ask))

    def put_together(self, bodies: list[bytes]) -> None:
        """Put messages on the topic at the same time."""

        async def put(hedera: Hedera) -> None:
            async with anyio.create_task_group() as tasks:
                for body in bodies:
                    tasks.start_soon(hedera.submit, self.topic, body)

        self.world.call(put, 0)

    def treasury_key(self, account: str) -> str:
        """An account's key as the mirror shows it, in hex."""

        async def ask(hedera: Hedera) -> str:
            return str((await hedera.mirror.account(account)).key.key)

        return str(self.world.call(ask))

    def call(self, *arguments: str) -> Result:
        """A command that needs no configuration."""
        return CliRunner().invoke(main, arguments, prog_name="roundabout")


def paid_to(state: RunState, account: AccountId) -> int:
    """What the fold says that an account was paid."""
    return dict(state.money.paid).get(account, Tinybar(0))


@contextmanager
def living(
    world: Moneyed, home: Path, size: int, treasury: Mapping[str, object], **params: object
) -> Iterator[LivingRun]:
    """A run of the first people that `roundabout found` has founded; no daemon of it is left running."""

    async def open_payees(hedera: Hedera) -> list[AccountId]:
        key = world.identity(0).public_key
        return [await hedera.create_account(key, Tinybar(0)) for _ in range(PEOPLE)]

    payees: list[AccountId] = world.call(open_payees)
    done = roundabout(
        "found", str(founding_file(world, home, payees[:size], treasury, params)), env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    run = LivingRun(world, TopicId(done.stdout.split()[1]), payees, [free_port() for _ in range(PEOPLE)])
    try:
        yield run
    finally:
        run.kill()


def founding_file(
    world: Moneyed,
    home: Path,
    payees: list[AccountId],
    treasury: Mapping[str, object],
    params: Mapping[str, object],
) -> Path:
    """What `roundabout found` takes, and beside it the preset that it names."""
    (home / "operator.key").write_text(world.localnet.key)
    (home / "operator.key").chmod(0o600)
    write_toml(home / "counting.toml", {"learner": {"name": NAME}, "params": {"round_window": 60}})
    net = world.localnet.network
    ledger = {"network": "localnet", "mirror": net.mirror_rest, "mirror_grpc": net.mirror_grpc}
    ledger |= {"account": world.localnet.operator, "key_file": str(home / "operator.key")}
    members = [
        {"peer": world.identity(person).peer, "account": account} for person, account in enumerate(payees)
    ]
    tables = {
        "": {"preset": "counting.toml", "writers": "anyone"},
        "members": members,
        "ledger": ledger,
        "ledger.nodes": dict(net.nodes),
        "params": dict(params),
        "treasury": dict(treasury),
    }
    write_toml(home / "run.toml", tables)
    return home / "run.toml"
