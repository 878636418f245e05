"""A run of real daemons that keep their history, done again by each of them from its own data."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ledger.mirror import Mirror
from node.cli.replay import CONFIG
from node.reading import Reading
from protocol.ids import TopicId
from protocol.state import RunState
from tests.e2e.conftest import ROOT, roundabout
from tests.e2e.founded import Founded, free_port, write_toml

PEERS = 3
ROUNDS = 4
PATIENCE = 120.0


def found(world: Founded, home: Path) -> TopicId:
    """A short run on digits."""
    members = [
        {"peer": world.identity(place).peer, "account": world.accounts[place]} for place in range(PEERS)
    ]
    params = {"round_window": 60, "max_rounds": ROUNDS}
    file = world.founding(
        home / "run.toml", **{"": {"preset": "digits"}, "members": members, "params": params}
    )
    done = roundabout("found", str(file))
    assert done.returncode == 0, done.stderr
    return TopicId(done.stdout.split()[1])


def write_homes(world: Founded, home: Path, topic: TopicId, keep: bool) -> list[Path]:
    """Each peer's directory with its configuration."""
    ports = [free_port() for _ in range(PEERS)]
    peers = [world.identity(place).peer for place in range(PEERS)]
    homes = []
    for place in range(PEERS):
        homes.append(home / f"peer-{place}")
        homes[-1].mkdir()
        others = {p: f"/ip4/127.0.0.1/tcp/{port}" for p, port in zip(peers, ports, strict=True)}
        del others[peers[place]]
        tables: dict[str, object] = {
            "": {"data": "data"},
            "identity": {"file": str(world.key_file(place))},
            "network": {"listen": f"/ip4/127.0.0.1/tcp/{ports[place]}"},
            "network.peers": others,
            "ledger": world.ledger | {"topic": topic, "account": world.accounts[place]},
            "ledger.nodes": dict(world.localnet.network.nodes),
            "learner": {"name": "digits"},
            "learner.options": {"learner": place, "of": PEERS},
            "blobs": {"keep_history": keep},
            "operator": {"enabled": False},
            "log": {"format": "json"},
        }
        write_toml(homes[-1] / CONFIG, tables)
    return homes


@contextmanager
def daemons(homes: list[Path]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The peers' daemons, none of which outlives the context."""
    started = []
    try:
        for home in homes:
            command = [sys.executable, "-m", "node.cli", "node", "--config", str(home / CONFIG)]
            with (home / "node.jsonl").open("ab") as log:
                started.append(subprocess.Popen(command, cwd=ROOT, stderr=log))
        yield started
        for daemon in started:
            daemon.send_signal(signal.SIGTERM)
        assert [daemon.wait(30) for daemon in started] == [0] * len(started)
    finally:
        for daemon in started:
            daemon.kill()
            daemon.wait()


def wait_for_the_end(world: Founded, topic: TopicId, running: list["subprocess.Popen[bytes]"]) -> RunState:
    async def watch() -> RunState:
        async with Mirror(world.localnet.network.mirror_rest) as mirror:
            reading, until = Reading(mirror, topic), time.monotonic() + PATIENCE
            while (await reading.catch_up()).open is not None:
                assert all(daemon.poll() is None for daemon in running), "a daemon has ended"
                assert time.monotonic() < until, "the run did not end in time"
                await anyio.sleep(0.2)
            return reading.run

    return anyio.run(watch)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def replayed(home: Path, *arguments: str) -> tuple[int, Any]:
    done = roundabout("replay", "--home", str(home), "--json", *arguments)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def over(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], RunState]:
    """A run that is over, and the homes of its peers."""
    home = tmp_path_factory.mktemp("replayed")
    topic = found(founded, home)
    homes = write_homes(founded, home, topic, keep=True)
    with daemons(homes) as running:
        state = wait_for_the_end(founded, topic, running)
    return homes, state


def test_every_peer_finds_again_what_it_signed(over: tuple[list[Path], RunState], tmp_path: Path) -> None:
    homes, state = over
    pages = tmp_path / "topic.json"
    saved = roundabout("audit", "--topic", state.topic, "--mirror", mirror_of(homes[0]), "--save", str(pages))
    assert saved.returncode == 0, saved.stderr
    before = [contents(home) for home in homes]
    facts = [replayed(home, "--topic", str(pages)) for home in homes]
    assert [contents(home) for home in homes] == before, "nothing in a home is written to"
    assert [status for status, _ in facts] == [0] * PEERS
    findings = [finding for _, fact in facts for finding in fact["findings"]]
    assert {finding["fate"] for finding in findings} == {"same"}
    trained = [finding["round"] for finding in findings if finding["what"] == "training"]
    assert sorted(trained) == list(range(1, ROUNDS + 1))
    voted = sum(finding["what"] == "vote" for finding in findings)
    assert voted >= state.totals.accepted >= 1
    assert all(fact["changed"] == [] for _, fact in facts)


def mirror_of(home: Path) -> str:
    (line,) = (line for line in (home / CONFIG).read_text().splitlines() if 'mirror" = ' in line)
    return str(json.loads(line.partition(" = ")[2]))


def test_another_option_is_found_and_named(over: tuple[list[Path], RunState]) -> None:
    home = over[0][1]
    file = home / CONFIG
    written = file.read_text()
    assert written.count('"of" = 3') == 1
    try:
        file.write_text(written.replace('"of" = 3', '"of" = 4'))
        done = roundabout("replay", "--home", str(home))  # from the configuration's mirror
    finally:
        file.write_text(written)
    assert done.returncode == 1, done.stderr
    assert "NOT THE SAME" in done.stdout
    assert "since round 1 option of was 3, is 4" in done.stdout
    (first,) = (line for line in done.stdout.splitlines() if "round 1, " in line)
    assert "differs; signed " in first
