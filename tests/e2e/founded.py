"""A network of our own and a run founded on it, for tests that start single commands."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from ledger.hedera import open_hedera
from node.identity import Identity, create, load
from protocol.ids import AccountId, Tinybar, TopicId
from tests.e2e.conftest import roundabout
from tests.ledger.localnet_process import Localnet, running_localnet

WINDOW = 12
NOWHERE = TopicId("0.0.0")
# Quick to train and to score; the public spec is that of the preset.
LEARNER = {
    "family": "medium",
    "seed": 7,
    "labels_per_turn": 20,
    "train_tracks": 2,
    "validation_tracks": 2,
    "validation_starts": 1,
    "train_steps": 5,
}


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Founded:
    """A running network, the members' keys and accounts, and the topic of their run."""

    home: Path
    localnet: Localnet
    accounts: list[AccountId] = field(default_factory=list)
    topic: TopicId = NOWHERE
    empty_topic: TopicId = NOWHERE

    def key_file(self, place: int) -> Path:
        """The key file of a member."""
        return self.home / f"member-{place}.pem"

    def identity(self, place: int) -> Identity:
        """A member's key."""
        return load(self.key_file(place))

    @property
    def ledger(self) -> dict[str, object]:
        """Where the network is, as configurations say it."""
        network = self.localnet.network
        return {"network": "localnet", "mirror": network.mirror_rest, "mirror_grpc": network.mirror_grpc}

    def founding(self, file: Path, **changes: object) -> Path:
        """Write the file that `roundabout found` takes."""
        operator = self.home / "operator.key"
        operator.write_text(self.localnet.key)
        ledger = self.ledger | {"account": self.localnet.operator, "key_file": str(operator)}
        members = [
            {"peer": self.identity(place).peer, "account": account}
            for place, account in enumerate(self.accounts)
        ]
        params = {"round_window": WINDOW, "contribution_window": 0, "inactive_after": 100, "max_rounds": 40}
        tables = {"": {}, "members": members, "ledger": ledger, "ledger.nodes": self.localnet.network.nodes}
        write_toml(file, tables | {"params": params} | changes)
        return file

    def node_config(self, file: Path, place: int, **changes: Mapping[str, object] | None) -> Path:
        """Write a member's node.toml; changes are merged table by table, None takes a table away."""
        tables: dict[str, object] = {
            "": {"data": "data"},
            "identity": {"file": str(self.key_file(place))},
            "network": {},
            "network.peers": {},
            "ledger": self.ledger | {"topic": self.topic, "account": self.accounts[place]},
            "ledger.nodes": dict(self.localnet.network.nodes),
            "learner": {"name": "driving"},
            "learner.options": dict(LEARNER),
            "log": {"format": "json"},
        }
        for name, change in changes.items():
            key = {"top": ""}.get(name, name.replace("__", "."))
            tables[key] = {} if change is None else dict(tables[key]) | dict(change)  # type: ignore[call-overload]
        write_toml(file, tables)
        return file


def write_toml(file: Path, tables: Mapping[str, object]) -> None:
    """Tables of plain values; JSON's are TOML's, too, and None leaves a key out."""
    lines = []
    for name, table in tables.items():
        if isinstance(table, list):
            for entry in table:
                lines += [f"[[{name}]]", *_pairs(entry)]
            continue
        assert isinstance(table, dict)
        lines += [*([f"[{name}]"] if name else []), *_pairs(table)]
    file.write_text("\n".join(lines) + "\n")


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if value is not None]


async def _open_accounts(world: Founded) -> None:
    net = world.localnet
    async with open_hedera(net.network, net.operator, net.key) as hedera:
        for place in range(5):
            key = create(world.key_file(place)).public_key
            world.accounts.append(await hedera.create_account(key, Tinybar(10**10)))
        world.empty_topic = await hedera.create_topic("nothing here")


@contextmanager
def founded_run(home: Path) -> Iterator[Founded]:
    """A network, five members with accounts, and a run of theirs that `roundabout found` has founded."""
    (home / "net").mkdir()
    with running_localnet(home / "net") as localnet:
        world = Founded(home, localnet)
        anyio.run(_open_accounts, world)
        done = roundabout("found", str(world.founding(home / "run.toml")))
        assert done.returncode == 0, done.stderr
        world.topic = TopicId(done.stdout.split()[1])
        yield world
