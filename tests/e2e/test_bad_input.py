"""Bad input to the real commands: one line that names cause and remedy, a status, and nothing lost."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.identity import create
from tests.e2e.conftest import ROOT, roundabout
from tests.e2e.founded import LEARNER, Founded, free_port

Tree = Mapping[str, bytes | None]


def tree(home: Path) -> Tree:
    """Every file and folder below a directory, with its contents."""
    return {str(p.relative_to(home)): p.read_bytes() if p.is_file() else None for p in home.rglob("*")}


def said(done: "subprocess.CompletedProcess[str]", status: int = 2) -> str:
    """The one line that a command which could not run said, apart from its structured log."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.stderr.endswith(line + "\n"), "it is the last one"
    return line


def refused(home: Path, *arguments: str, **options: Any) -> str:
    """The one line of a command that refuses, having written nothing to standard output and to no file."""
    before = tree(home)
    line = said(roundabout(*arguments, **options))
    assert tree(home) == before
    return line


# ---- node: the configuration and the key ----


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, ("cannot read", "name an existing file")),
        ("data = = 1", ("is not TOML", "line 1", "docs/configuration.md")),
        ('dada = "data"', ("unknown key dada", "remove it or mend its spelling")),
        ('data = "data"', ("the key identity is missing", "add it")),
    ],
)
def test_a_configuration_that_is_none(tmp_path: Path, text: str | None, says: tuple[str, ...]) -> None:
    file = tmp_path / "node.toml"
    if text is not None:
        file.write_text(text)
    line = refused(tmp_path, "node", "--config", str(file))
    assert all(part in line for part in ("roundabout: ", str(file), *says)), line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ledger": {"netwrok": "localnet"}}, ("unknown key ledger.netwrok", "mend its spelling")),
        ({"ledger": {"topic": None}}, ("the key ledger.topic is missing", "add it")),
        ({"ledger": {"account": "7"}}, ("the key ledger.account",)),
        ({"ledger": {"mirror": "http://127.0.0.1:99999"}}, ("no URL of a mirror", "[ledger] mirror")),
        ({"ledger": {"key_file": "none.key"}}, ("cannot read the key file", "check [ledger] key_file")),
        ({"ledger": {"key_file": "node.toml"}}, ("holds no private key",)),
        ({"identity": {"file": "none.pem"}}, ("cannot read", "none.pem", "roundabout identity")),
        ({"identity": {"file": "node.toml"}}, ("is not a private key in PEM", "restore it")),
        ({"identity": {"passphrase_env": "NOT_SET"}}, ("NOT_SET is empty", "set it")),
        ({"top": {"data": "node.toml"}}, ("cannot use the data directory", "check `data`")),
        ({"top": {"data": "a\0b"}}, ("the key data", "zero byte")),
        ({"network": {"listen": "/ip4/127.0.0.1/udp/1"}}, ("the key network.listen",)),
        ({"network": {"listen": "/ip4/127.0.0.1/tcp/70000"}}, ("network.listen", "ports end at 65535")),
    ],
)
def test_a_configuration_that_cannot_be_used(
    founded: Founded, tmp_path: Path, changes: dict[str, Any], says: tuple[str, ...]
) -> None:
    file = founded.node_config(tmp_path / "node.toml", 0, **changes)
    file.chmod(0o600)
    line = said(roundabout("node", "--config", str(file)))
    assert all(part in line for part in says), line
    assert "PRIVATE" not in line


@pytest.fixture
def protected(tmp_path: Path) -> Path:
    """A key file with a passphrase."""
    create(tmp_path / "identity.pem", "correct horse")
    return tmp_path / "identity.pem"


def test_a_wrong_passphrase(founded: Founded, protected: Path) -> None:
    identity = {"file": str(protected), "passphrase_env": "WORD"}
    file = founded.node_config(protected.parent / "node.toml", 0, identity=identity)
    env = os.environ | {"WORD": "battery staple"}
    line = refused(protected.parent, "node", "--config", str(file), env=env)
    assert "wrong passphrase, or a damaged file" in line
    assert "battery" not in line


def test_a_key_that_others_may_read(founded: Founded, protected: Path) -> None:
    protected.chmod(0o640)
    file = founded.node_config(protected.parent / "node.toml", 0, identity={"file": str(protected)})
    line = refused(protected.parent, "node", "--config", str(file))
    assert "can be read by others" in line
    assert f"chmod 600 {protected}" in line
    assert protected.stat().st_mode & 0o777 == 0o640


# ---- node: this machine ----


def test_a_data_directory_in_use(founded: Founded, tmp_path: Path) -> None:
    file = founded.node_config(tmp_path / "node.toml", 0)
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = refused(tmp_path, "node", "--config", str(file))
    assert "another node uses" in line
    assert "stop it, or give this one its own `data`" in line


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("journal.db", ("cannot open the journal", "risks the stake")),
        ("blobs", ("cannot use", "check `data`")),
    ],
)
def test_a_data_directory_with_nonsense_in_it(
    founded: Founded, tmp_path: Path, file: str, says: tuple[str, ...]
) -> None:
    config = founded.node_config(tmp_path / "node.toml", 0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_bytes(b"nonsense" * 100)
    line = said(roundabout("node", "--config", str(config)))
    assert all(part in line for part in says), line
    assert (tmp_path / "data" / file).read_bytes() == b"nonsense" * 100


def test_a_port_in_use(founded: Founded, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        file = founded.node_config(tmp_path / "node.toml", 0, network={"listen": listen})
        line = said(roundabout("node", "--config", str(file)))
    assert f"cannot listen on {listen}: Address already in use" in line
    assert "choose another listen address" in line


# ---- node: the run ----


def test_a_topic_without_a_run(founded: Founded, tmp_path: Path) -> None:
    file = founded.node_config(tmp_path / "node.toml", 0, ledger={"topic": founded.empty_topic})
    line = said(roundabout("node", "--config", str(file)))
    assert f"no run was founded on topic {founded.empty_topic}; check [ledger] topic" in line


def test_somebody_who_is_not_in_the_roster(founded: Founded, tmp_path: Path) -> None:
    peer = create(tmp_path / "other.pem").peer
    file = founded.node_config(tmp_path / "node.toml", 0, identity={"file": "other.pem"})
    line = said(roundabout("node", "--config", str(file)))
    assert f"peer {peer} is not in the roster" in line
    assert "roundabout motion join" in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"learner": {"name": "flying"}},
            ("there is no learner named 'flying'; known: camera, digits, driving, metadrive",),
        ),
        ({"learner__options": {"lables": 1}}, ("driving option 'lables'",)),
        ({"learner__options": LEARNER | {"hidden": 32}}, ("this learner is", "check [learner]")),
    ],
)
def test_a_learner_that_is_not_the_runs(
    founded: Founded, tmp_path: Path, changes: dict[str, Any], says: tuple[str, ...]
) -> None:
    file = founded.node_config(tmp_path / "node.toml", 0, **changes)
    line = said(roundabout("node", "--config", str(file)))
    assert all(part in line for part in says), line


# ---- node: a ledger that is away is waited for ----


@contextmanager
def forwarder(port: int, target: str) -> Iterator[None]:
    """Connections to a port of ours, passed on to `host:port`, until the context ends."""
    host, _, number = target.partition(":")
    with socket.create_server(("127.0.0.1", port)) as server, closing(server):

        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(65_536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                onward = socket.create_connection((host, int(number)))
                for pair in ((client, onward), (onward, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


class Daemon:
    """`roundabout node` as a child; its log is read line by line."""

    def __init__(self, config: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "node", "--config", str(config)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, text: str) -> str:
        """The next log line that contains a text; pytest-timeout bounds the wait."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line))
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}: {self.events}")

    def stop(self) -> int:
        """End it as an operator does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        self.events += [json.loads(line) for line in self.process.stderr]
        return self.process.wait(20)


@pytest.mark.parametrize("why", ["no mirror", "no topic"])
def test_a_ledger_that_is_away_is_waited_for(founded: Founded, tmp_path: Path, why: str) -> None:
    port = free_port()
    unknown = f"0.0.{int(founded.topic.rpartition('.')[2]) + 1_000}"
    ledger = {"mirror": f"http://127.0.0.1:{port}"} if why == "no mirror" else {"topic": unknown}
    file = founded.node_config(tmp_path / "node.toml", 0, ledger=ledger)
    daemon = Daemon(file)
    try:
        warning = json.loads(daemon.until("is out of reach"))
        assert warning["level"] == "warning"
        if why == "no mirror":
            assert f"cannot reach the mirror at http://127.0.0.1:{port}" in warning["event"]
            assert "is it running? check [ledger] mirror" in warning["event"]
            with forwarder(port, founded.localnet.network.mirror_rest.removeprefix("http://")):
                daemon.until("within reach again")
                daemon.until("taking part")
                assert daemon.stop() == 0
        else:
            assert f"knows nothing of topic {unknown}; check the id and the network" in warning["event"]
            assert daemon.stop() == 0
        assert len([e for e in daemon.events if "is out of reach" in e["event"]]) == 1, "said once"
        assert not [e for e in daemon.events if e["level"] == "error"]
    finally:
        daemon.process.kill()
        daemon.process.wait()


# ---- found ----


@pytest.fixture(scope="module", autouse=True)
def hopeless(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[str]"]:
    """A founding on a network whose nodes do not answer, begun early because it waits for them."""
    nodes = {"0.0.3": f"127.0.0.1:{free_port()}"}
    file = founded.founding(tmp_path_factory.mktemp("found") / "run.toml", **{"ledger.nodes": nodes})
    command = [sys.executable, "-m", "node.cli", "found", str(file)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": []}, ("members", "docs/configuration.md")),
        ({"members": [{"peer": "nobody", "account": "0.0.2"}]}, ("members.0.peer",)),
        ({"params": {"round_windwo": 9}}, ("params.round_windwo", "docs/parameters.md")),
        (
            {"params": {"round_window": 60}},
            ("[params] cannot be: contribution_window is at most half", "docs/parameters.md"),
        ),
        ({"": {"preset": "walking"}}, ("the preset walking is not installed",)),
        (
            {"ledger": {"network": "localnet", "account": "0.0.2"}},
            ("ledger.key_file and ledger.key_env are missing",),
        ),
    ],
)
def test_a_founding_that_cannot_be(
    founded: Founded, tmp_path: Path, changes: dict[str, Any], says: tuple[str, ...]
) -> None:
    file = founded.founding(tmp_path / "run.toml", **changes)
    line = refused(tmp_path, "found", str(file))
    assert all(part in line for part in says), line


def test_a_founding_without_a_file(tmp_path: Path) -> None:
    assert "name an existing file" in refused(tmp_path, "found", str(tmp_path / "none.toml"))


# ---- identity, localnet, demo ----


def test_an_identity_that_cannot_be_made_or_read(tmp_path: Path, protected: Path) -> None:
    nowhere = refused(tmp_path, "identity", str(tmp_path / "no" / "where.pem"))
    assert "cannot write" in nowhere
    assert "choose another path" in nowhere
    assert "give its passphrase" in refused(tmp_path, "identity", str(protected))
    unset = refused(tmp_path, "identity", str(tmp_path / "new.pem"), "--passphrase-env", "NOT_SET")
    assert "NOT_SET is empty; set it" in unset
    protected.write_bytes(b"\xff" * 100_000)
    assert "restore it from your copy" in refused(tmp_path, "identity", str(protected))


def test_a_localnet_directory_in_use(founded: Founded) -> None:
    before = (founded.home / "net" / "localnet.json").read_bytes()
    line = said(roundabout("localnet", "--dir", str(founded.home / "net"), "--any-port"))
    assert "is in use by another localnet: stop it, or choose another directory" in line
    assert (founded.home / "net" / "localnet.json").read_bytes() == before


def test_a_localnet_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 5551))
            other.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        line = said(roundabout("localnet", "--dir", str(tmp_path)))
    assert "is in use: stop what listens there, or start the localnet with --any-port" in line


@pytest.mark.parametrize("what", ["a file", "something else", "below a file"])
def test_a_demo_with_no_place_to_be(tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "something else":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    else:
        out.write_text("years of work")
    place = out / "below" if what == "below a file" else out
    line = refused(tmp_path, "demo", "--peers", "2", "--rounds", "1", "--out", str(place))
    assert f"{place}" in line
    assert "with --out" in line


# ---- audit ----


def test_an_audit_without_a_mirror(tmp_path: Path) -> None:
    for url, says in (
        (f"http://127.0.0.1:{free_port()}", "cannot reach the mirror"),
        ("127.0.0.1:5551", "wants http(s)://host:port"),
        ("http://127.0.0.1:99999", "wants http(s)://host:port"),
    ):
        line = refused(
            tmp_path, "audit", "--topic", "0.0.1001", "--mirror", url, "--save", str(tmp_path / "s")
        )
        assert says in line
        assert url in line


def test_an_audit_of_nothing(founded: Founded, tmp_path: Path) -> None:
    mirror = founded.localnet.network.mirror_rest
    line = refused(tmp_path, "audit", "--topic", founded.empty_topic, "--mirror", mirror)
    assert f"topic {founded.empty_topic} is empty: there is nothing to audit; check --topic" in line
    line = refused(tmp_path, "audit", "--topic", "0.0.999999", "--mirror", mirror)
    assert "knows nothing of topic 0.0.999999; check the id and the network" in line
    assert "it reads 0.0.1234" in refused(tmp_path, "audit", "--topic", "1234", "--mirror", mirror)
    assert "give either --topic" in refused(tmp_path, "audit")


def test_an_audit_of_a_broken_file(tmp_path: Path) -> None:
    file = tmp_path / "topic.json"
    assert "check the path" in refused(tmp_path, "audit", "--pages", str(file))
    for content, says in (
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is no saved history"),
        (b'{"messages": [1]}', "must be a list of objects"),
        (b'{"messages": [{}]}', "does not say its topic; give --topic"),
    ):
        file.write_bytes(content)
        assert says in refused(tmp_path, "audit", "--pages", str(file)), content
    with file.open("wb") as huge:
        huge.truncate(300 * 1024 * 1024)
    assert "is longer than" in said(roundabout("audit", "--pages", str(file)))


def test_an_audit_that_finds_something_wrong_says_so_on_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "topic.json"
    file.write_text('{"messages": [{"topic_id": "0.0.1001"}]}')
    done = roundabout("audit", "--pages", str(file))
    assert (done.returncode, done.stderr) == (1, "")
    assert "message 1:" in done.stdout


# ---- and at last, what was begun first ----


def test_a_founding_on_a_network_that_does_not_answer(hopeless: "subprocess.Popen[str]") -> None:
    output, errors = hopeless.communicate(timeout=100)
    line = said(subprocess.CompletedProcess([], hopeless.returncode, output, errors))
    assert "cannot create an account: no node answered" in line
    assert "is the network up? check [ledger] nodes" in line
