"""`roundabout doctor` on real faults: each is found, named, and comes with something to do about it."""

import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio
from click.testing import CliRunner

from ledger.outbox import Outbox, Payment
from node.cli.main import main
from node.doctor import peers
from node.doctor.clock import examine_clock
from node.doctor.directory import examine_room, is_running
from node.doctor.findings import Finding
from node.doctor.memory import examine_outbox
from node.identity import create
from protocol.ids import SECOND, AccountId, Nanoseconds, Round, Tinybar
from protocol.state import Whereabouts
from tests.e2e.conftest import roundabout
from tests.trials.disks import small_disk
from tests.trials.disks import why_not as no_disks
from tests.trials.trial import Trial, trial

SIZE = 3
PATIENT, HEALTHY, AWAY = 2, 0, 1
"""Whose configuration is damaged; whose daemon runs; whose does not."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    async with trial(tmp_path_factory.mktemp("doctor"), SIZE, round_window=600) as run:
        run.start_daemons(HEALTHY)
        await run.until_true(lambda: run.takes_part(HEALTHY), "it takes part")
        yield run


async def findings(file: Path, status: int) -> list[Finding]:
    """What the command says of a configuration, as JSON."""
    # In a thread: the command has an event loop of its own.
    done = await anyio.to_thread.run_sync(CliRunner().invoke, main, ["doctor", str(file), "--json"])
    assert (done.exit_code, done.stderr) == (status, ""), done.output
    told = json.loads(done.stdout)
    assert told["ok"] is (status == 0)
    return [Finding(**each) for each in told["findings"]]


def of(found: list[Finding], grade: str) -> list[Finding]:
    return [each for each in found if each.grade == grade]


def changed(run: Trial, *changes: tuple[str, str], place: int = PATIENT) -> Path:
    """A copy of a member's configuration with some text replaced."""
    text = (run.home / f"{place}.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = run.home / "changed.toml"
    file.write_text(text)
    return file


def only_problem(found: list[Finding], subject: str, *says: str) -> Finding:
    (finding,) = of(found, "problem")
    assert finding.subject == subject, finding
    assert all(part in f"{finding.cause}; {finding.remedy}" for part in says), finding
    assert finding.remedy
    return finding


@pytest.mark.asyncio(loop_scope="module")
async def test_a_healthy_node_and_a_member_who_is_away(run: Trial) -> None:
    found = await findings(run.home / f"{PATIENT}.toml", 0)
    assert not run.data(PATIENT).exists(), "it makes nothing"
    (warning,) = of(found, "warning")
    assert warning.subject == "peers"
    assert run.members[AWAY].peer in warning.cause
    assert "Connection refused" in warning.cause
    subjects = {each.subject for each in found}
    assert subjects == {
        "daemon", "keys", "data", "journal", "outbox", "blobs", "ports", "ledger", "clock", "run", "disk",
        "peers", "learner",
    }  # fmt: skip
    assert any(f"{run.members[HEALTHY].peer} answers" in each.cause for each in found)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_running_daemon_is_left_alone(run: Trial) -> None:
    data = run.data(HEALTHY)
    still = {p: p.read_bytes() for p in data.rglob("*") if p.is_file() and not p.name.endswith("-shm")}
    found = await findings(run.home / f"{HEALTHY}.toml", 0)
    assert "one is running" in found[0].cause
    assert any("the daemon listens on" in each.cause for each in found)
    assert {p: p.read_bytes() for p in still} == still
    run.check_children()
    assert is_running(data)


@pytest.mark.asyncio(loop_scope="module")
async def test_people_are_told_in_lines(run: Trial) -> None:
    done = await anyio.to_thread.run_sync(
        roundabout, "doctor", str(changed(run, ('"account" = "0.0.', '"account" = "0.0.9')))
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "problem") for line in lines)
    assert any(line.startswith("problem  ledger") and "; " in line for line in lines)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    done = roundabout("doctor", str(tmp_path / "nothing.toml"))
    assert done.returncode == 2
    assert "name an existing file" in done.stderr


# ---- ports ----


@pytest.mark.asyncio(loop_scope="module")
async def test_a_port_that_is_taken(run: Trial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = changed(run, (f"/tcp/{run.listens[PATIENT]}", f"/tcp/{port}"))
        only_problem(
            await findings(file, 1), "ports", f"port {port}: Address already in use", "stop the other node"
        )


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_that_is_not_ours(run: Trial) -> None:
    file = changed(run, (f"127.0.0.1/tcp/{run.listens[PATIENT]}", f"203.0.113.7/tcp/{run.listens[PATIENT]}"))
    only_problem(await findings(file, 1), "ports", "203.0.113.7", "choose an address of this machine")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_that_nobody_can_reach(run: Trial) -> None:
    file = changed(
        run,
        (f"/tcp/{run.listens[PATIENT]}", "/tcp/0"),
        (f"127.0.0.1/tcp/{run.listens[AWAY]}", "127.0.0.2/tcp/9"),
    )
    warnings = of(await findings(file, 0), "warning")
    assert any("another one at every start" in each.cause for each in warnings)


# ---- keys ----


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: file.unlink(), "cannot read"),
        (lambda file: file.chmod(0o644), "chmod 600"),
        (lambda file: file.write_bytes(file.read_bytes()[:90]), "is not a private key in PEM"),
        (lambda file: file.write_bytes(b""), "is not a private key in PEM"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_file_that_cannot_be_used(run: Trial, tmp_path: Path, damage: Any, says: str) -> None:
    shutil.copy(run.home / f"{PATIENT}.pem", run.home / "damaged.pem")
    damage(run.home / "damaged.pem")
    file = changed(run, (f"{PATIENT}.pem", "damaged.pem"))
    only_problem(await findings(file, 1), "keys", says, "damaged.pem")
    ended = await anyio.to_thread.run_sync(roundabout, "node", "--config", str(file))
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    (run.home / "damaged.pem").unlink(missing_ok=True)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_that_is_not_the_accounts(run: Trial) -> None:
    file = changed(run, (run.accounts[PATIENT], run.accounts[AWAY]))
    only_problem(await findings(file, 1), "keys", "is not the key of account", "key_file")


@pytest.mark.asyncio(loop_scope="module")
async def test_somebody_who_is_no_member(run: Trial) -> None:
    stranger = create(run.home / "stranger.pem")
    shutil.copy(run.home / f"{PATIENT}.pem", run.home / "account.key")
    file = changed(run, (f"{PATIENT}.pem", "stranger.pem"))
    found = of(await findings(file, 1), "problem")
    assert {"run", "keys"} <= {each.subject for each in found}
    (about,) = [each for each in found if each.subject == "run"]
    assert stranger.peer in about.cause
    assert "roundabout motion join" in about.remedy


# ---- ledger ----


@pytest.mark.asyncio(loop_scope="module")
async def test_a_ledger_that_is_away(run: Trial) -> None:
    consensus, _, rest = run.ports
    file = changed(run, (f":{consensus}", ":9"))
    only_problem(
        await findings(file, 1), "ledger", "0 of 1 consensus nodes", "Connection refused", "[ledger] nodes"
    )
    file = changed(run, (f":{rest}", ":9"))
    only_problem(await findings(file, 1), "ledger", "cannot reach the mirror", "[ledger] mirror")


@pytest.mark.parametrize(
    ("what", "subject", "says"),
    [("topic", "ledger", "knows nothing of topic"), ("account", "ledger", "knows nothing of account")],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_ledger_that_knows_no_such_thing(run: Trial, what: str, subject: str, says: str) -> None:
    name = run.topic if what == "topic" else run.accounts[PATIENT]
    file = changed(run, (f'"{what}" = "{name}"', f'"{what}" = "0.0.99999"'))
    only_problem(await findings(file, 1), subject, says)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_account_without_money(run: Trial) -> None:
    async with run.operator() as operator:
        key = run.identity(PATIENT).public_key
        poor = await operator.create_account(key, Tinybar(1_000))
        empty = await operator.create_topic("nothing here")
    file = changed(run, (run.accounts[PATIENT], poor))
    only_problem(await findings(file, 1), "ledger", "0.00001 hbar", f"send {poor} some hbar")
    file = changed(run, (run.topic, empty))
    only_problem(await findings(file, 1), "run", f"topic {empty} holds no run")


# ---- peers ----


@pytest.mark.asyncio(loop_scope="module")
async def test_another_peer_than_was_expected(run: Trial) -> None:
    file = changed(run, (f"/tcp/{run.listens[AWAY]}", f"/tcp/{run.listens[HEALTHY]}"))
    only_problem(await findings(file, 1), "peers", f"somebody else than {run.members[AWAY].peer}")
    run.check_children()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_listener_that_is_no_peer_at_all(run: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "DIAL_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = changed(run, (f"/tcp/{run.listens[AWAY]}", f"/tcp/{port}"))
        (warning,) = of(await findings(file, 0), "warning")
        assert run.members[AWAY].peer in warning.cause


# ---- learner ----


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("counting:Counting", "counting:Nothing"), "Nothing"),
        (('"pause" =', '"scorer" = "other/1"\n"pause" ='), "this learner is counting"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_learner_that_is_not_the_runs(run: Trial, change: tuple[str, str], says: str) -> None:
    file = changed(run, change)
    only_problem(await findings(file, 1), "learner", says)


# ---- what is on disk ----


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_daemon_left_on_disk_is_read_and_not_touched(run: Trial) -> None:
    data = run.home / "left"
    shutil.copytree(run.data(HEALTHY), data, ignore=shutil.ignore_patterns("lock"))
    data.chmod(0o700)
    file = changed(run, (f"data-{PATIENT}", "left"))
    assert not of(await findings(file, 0), "problem")
    blob = next(each for each in (data / "blobs").iterdir() if len(each.name) == 64)
    blob.write_bytes(b"\xff" + blob.read_bytes()[1:])
    rotten = [each for each in of(await findings(file, 0), "warning") if each.subject == "blobs"]
    assert len(rotten) == 1
    assert blob.name in rotten[0].cause
    assert blob.exists()
    data.chmod(0o755)
    assert any("chmod 700" in each.remedy for each in of(await findings(file, 0), "warning"))
    for name, subject in (("journal.db", "journal"), ("outbox.db", "outbox")):
        with closing(sqlite3.connect(data / name)) as database:
            database.execute(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            )  # else what is wrong with the file does not matter
        whole = (data / name).read_bytes()
        (data / name).write_bytes(b"nonsense" * 1_000)
        only_problem(await findings(file, 1), subject, str(data / name), "restore it")
        assert (data / name).read_bytes() == b"nonsense" * 1_000
        (data / name).write_bytes(whole)
    shutil.rmtree(data)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_data_directory_that_is_none(run: Trial) -> None:
    file = changed(run, ('"data-2"', f'"{PATIENT}.pem"'))
    assert of(await findings(file, 1), "problem")[0].subject == "data"


def test_a_spend_limit_that_is_used_up(tmp_path: Path) -> None:
    now = 1_700_000_000 * SECOND
    with Outbox.open(tmp_path / "outbox.db", Tinybar(10**9), now=lambda: now) as outbox:
        outbox.enqueue("us", Payment(AccountId("0.0.3"), Tinybar(8 * 10**8), ""), "key", Nanoseconds(now))
        grades = [examine_outbox(tmp_path, limit, now)[1].grade for limit in (10**10, 10**9, 8 * 10**8)]
    assert grades == ["ok", "warning", "problem"]
    assert examine_outbox(tmp_path, 8 * 10**8, now + 3_700 * SECOND)[1].grade == "ok"


def test_a_disk_without_room(tmp_path: Path) -> None:
    reason = no_disks()
    if reason is not None:
        pytest.skip(reason)
    with small_disk(tmp_path / "data"):
        assert examine_room(tmp_path / "data", 64 * 1024 * 1024).grade == "problem"
        assert examine_room(tmp_path / "data", 1024).grade == "warning"
    assert examine_room(tmp_path / "not there yet", 1024).grade == "ok"


# ---- clock ----


@contextmanager
def mirror_whose_clock_is(ahead: float, consensus: str = "") -> Iterator[str]:
    """A mirror whose clock is some seconds ahead of ours."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            entries = [{"consensus_timestamp": consensus, "transfers": [], "transaction_id": "0.0.2-1-1"}]
            body = json.dumps(
                {"transactions": entries if consensus else [], "links": {"next": None}}
            ).encode()
            self.send_response_only(200)
            self.send_header("date", formatdate(NOW / SECOND + ahead, usegmt=True))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("ahead", "grade", "says"),
    [
        (0.0, "ok", "agrees"),
        (-0.9, "ok", "agrees"),
        (4.0, "warning", "4.0 s behind"),
        (-5.0, "warning", "4.0 s ahead"),
        (60.0, "problem", "60.0 s behind"),
        (-61.0, "problem", "60.0 s ahead"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_clock_that_is_wrong(ahead: float, grade: str, says: str) -> None:
    with mirror_whose_clock_is(ahead) as url:
        found = await examine_clock(url, lambda: NOW)
    assert found.grade == grade
    assert says in found.cause
    assert (grade == "ok") == (found.remedy == "")


@pytest.mark.asyncio(loop_scope="module")
async def test_members_are_looked_for_where_the_topic_says(run: Trial) -> None:
    """What a configuration says goes before what a member has announced."""
    state = await run.state()
    where = Whereabouts(Round(1), (f"/ip4/127.0.0.1/tcp/{run.listens[HEALTHY]}",))
    told = replace(state, whereabouts=(where, None, None))
    ours, healthy = run.members[PATIENT].peer, run.members[HEALTHY].peer
    found = await anyio.to_thread.run_sync(
        lambda: anyio.run(peers.examine_peers, told, ours, {}, backend="trio")
    )
    assert [(each.grade, healthy in each.cause) for each in found] == [("ok", True), ("ok", False)]
    assert "of 1 members we know no address" in found[1].cause
