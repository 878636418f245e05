"""`roundabout audit` over time: from a checkpoint, and following a run as it happens."""

import json
import signal
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, ClassVar

import pytest
from click.testing import Result

import ledger.reading
import node.cli.audit
import node.cli.follow
from ledger.topic import LedgerError
from protocol.ids import SECOND
from tests.ledger.moneyed import THIEF, paid
from tests.ledger.test_audit import ENTRIES, PLAYED, ChainedRun
from tests.ledger.test_reading import Shown
from tests.node.test_audit_cli import FakeMirror, audit, refusal, saved
from tests.protocol.world import TREASURY

# ---- going on where the last audit ended ----


class Counting(FakeMirror):
    """Remembers after which message it was asked."""

    asked: ClassVar[list[int]] = []
    entries: ClassVar[list[dict[str, Any]]] = ENTRIES

    async def messages(self, topic: str, after: int = 0) -> AsyncGenerator[dict[str, Any], None]:
        self.asked.append(after)
        for entry in self.entries[after:]:
            yield entry


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(node.cli.audit, "Mirror", Counting)
    monkeypatch.setattr(Counting, "asked", [])
    return Counting


ONLINE = ("--topic", "0.0.1001", "--mirror", "http://mirror")


@pytest.mark.parametrize("split", range(1, len(ENTRIES) + 1))
def test_only_what_is_new_is_read_after_a_checkpoint(
    tmp_path: Path, mirror: type[Counting], monkeypatch: pytest.MonkeyPatch, split: int
) -> None:
    file = tmp_path / "checkpoint.json"
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "entries", ENTRIES[:split])
        audit(*ONLINE, "--checkpoint", file)
    result = audit(*ONLINE, "--checkpoint", file, "--json")
    assert mirror.asked[:4] == [0, split, split - 1, split], "the message it stands on is looked at again"
    assert (result.exit_code, result.stdout) == (0, audit(*ONLINE, "--json").stdout)


def test_a_saved_history_can_be_gone_on_with_too(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    assert audit("--pages", saved(tmp_path, ENTRIES[:3]), "--checkpoint", file).exit_code == 0
    pages = saved(tmp_path, ENTRIES)
    result = audit("--pages", pages, "--checkpoint", file, "--json")
    assert result.stdout == audit("--pages", pages, "--json").stdout


def test_a_checkpoint_of_another_history_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    other = ChainedRun()
    other.put(other.pass_turn())
    audit("--pages", saved(tmp_path, other.entries), "--checkpoint", file)
    before = file.read_bytes()
    line = refusal(audit("--pages", saved(tmp_path, ENTRIES), "--checkpoint", file))
    assert "does not belong to this history of topic 0.0.1001: they differ at message 2" in line
    line = refusal(audit("--pages", saved(tmp_path, ENTRIES[:1]), "--checkpoint", file))
    assert "does not belong to this history" in line
    assert file.read_bytes() == before


def test_a_history_that_breaks_leaves_the_checkpoint_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    audit("--pages", saved(tmp_path, ENTRIES[:3]), "--checkpoint", file)
    before = file.read_bytes()
    broken = [*ENTRIES[:4], {**ENTRIES[4], "payer_account_id": "0.0.8"}]
    assert audit("--pages", saved(tmp_path, broken), "--checkpoint", file).exit_code == 1
    assert file.read_bytes() == before
    assert audit("--pages", saved(tmp_path, ENTRIES), "--checkpoint", file).exit_code == 0


def test_violations_before_a_checkpoint_are_not_forgotten(tmp_path: Path) -> None:
    run = ChainedRun()
    run.put_wrong(run.close(round=9))
    file, pages = tmp_path / "checkpoint.json", saved(tmp_path, run.entries)
    first = audit("--pages", pages, "--checkpoint", file)
    second = audit("--pages", pages, "--checkpoint", file)
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert first.stdout == second.stdout


@pytest.mark.parametrize(
    "more", [("--checkpoint", "c", "--save", "s"), ("--follow", "--save", "s")], ids=" ".join
)
def test_what_was_not_read_cannot_be_saved(mirror: type[Counting], more: tuple[str, ...]) -> None:
    assert "leave out --follow and --checkpoint" in refusal(audit(*ONLINE, *more))
    assert mirror.asked == []


# ---- following ----


class Growing(Counting):
    """Has more at each look; then somebody presses Ctrl-C."""

    looks: ClassVar[list[Any]] = []

    async def messages(self, topic: str, after: int = 0) -> AsyncGenerator[dict[str, Any], None]:
        if not self.looks:
            raise KeyboardInterrupt
        news = self.looks.pop(0)
        if isinstance(news, Exception):
            raise news
        for entry in news[after:]:
            yield entry


def follow(monkeypatch: pytest.MonkeyPatch, looks: list[Any], *arguments: object) -> Result:
    monkeypatch.setattr(node.cli.audit, "Mirror", Growing)
    monkeypatch.setattr(node.cli.follow, "POLL_SECONDS", 0)
    monkeypatch.setattr(Growing, "looks", looks)
    return audit(*ONLINE, "--follow", *arguments)


def test_following_says_a_line_a_round_and_ends_with_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    result = follow(monkeypatch, [ENTRIES[:1], ENTRIES[:2], ENTRIES[:2], ENTRIES])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split(",")[0] for line in lines[:5]] == [
        "round 1: accepted", "round 2: rejected", "round 3: passed", "round 4: closed", "round 5: accepted",
    ]  # fmt: skip
    assert lines[5] == "audit of topic 0.0.1001: ok"
    assert lines[0].endswith("message 2")


def test_following_says_a_violation_at_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ChainedRun()
    sequence = run.put_wrong(run.close(round=9))
    run.accept()
    result = follow(monkeypatch, [run.entries])
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0].startswith(f"VIOLATION in message {sequence}: round 9 is not open")
    assert lines[1].startswith("round 1: accepted")
    assert lines[2] == "audit of topic 0.0.1001: VIOLATIONS"


def test_following_ends_by_itself_where_the_history_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*ENTRIES[:4], {**ENTRIES[4], "payer_account_id": "0.0.8"}]
    result = follow(monkeypatch, [broken, ENTRIES])
    assert result.exit_code == 1
    assert "VIOLATION in message 5: " in result.stdout
    assert Growing.looks == [ENTRIES], "it does not look again"


def test_following_survives_a_mirror_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away = [LedgerError("cannot reach the mirror"), LedgerError("cannot reach the mirror")]
    result = follow(monkeypatch, [ENTRIES[:3], ENTRIES[:3], *away, ENTRIES, ENTRIES])
    assert result.exit_code == 0
    assert result.stdout.count("out of reach") == result.stdout.count("within reach again") == 1
    assert "round 5: accepted" in result.stdout


def test_a_mirror_that_was_never_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no mirror" in refusal(follow(monkeypatch, [LedgerError("no mirror")]))


def test_following_with_json_prints_nothing_else_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, checkpoint = tmp_path / "report.html", tmp_path / "checkpoint.json"
    result = follow(monkeypatch, [ENTRIES], "--json", "--html", page, "--checkpoint", checkpoint)
    assert json.loads(result.stdout)["rounds"] == 5
    assert len(result.stderr.splitlines()) == 5
    assert PLAYED.now.head in page.read_text(encoding="utf-8")
    more = follow(monkeypatch, [ENTRIES[:], ENTRIES], "--json", "--checkpoint", checkpoint)
    assert (more.stdout, more.stderr) == (result.stdout, "")


def test_following_says_a_theft_at_once_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = paid()
    looks = 0

    def before(request: str) -> None:
        nonlocal looks
        looks += request == "account"
        if looks == 2 and request == "account":
            run.time += SECOND
            run.ledger.put(run.time, TREASURY, {THIEF: 700, TREASURY: -700}, "a loan")
        if looks == 6:
            raise KeyboardInterrupt

    class Mirror(Shown):
        def __init__(self, url: str) -> None:
            super().__init__(run, before)

        async def __aenter__(self) -> "Mirror":
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(node.cli.audit, "Mirror", Mirror)
    monkeypatch.setattr(node.cli.follow, "POLL_SECONDS", 0)
    monkeypatch.setattr(ledger.reading, "PAUSES", (0.0,))
    result = audit(*ONLINE, "--follow")
    assert result.exit_code == 1
    said, summary = result.stdout.split("audit of topic 0.0.1001: VIOLATIONS")
    assert said.startswith("round 1: accepted")
    (theft,) = [line for line in said.splitlines() if "a loan" in line]
    assert theft.startswith("VIOLATION: transaction 0.0.1002-")
    assert "no settlement asks for it" in summary
    assert "of what it must hold are missing" in summary
    assert "its balance" in summary


def test_a_saved_history_cannot_be_followed(tmp_path: Path) -> None:
    pages = saved(tmp_path, ENTRIES)
    assert "without --follow" in refusal(audit("--pages", pages, "--follow"))


class Pages(BaseHTTPRequestHandler):
    """A mirror's REST interface, of one page."""

    def do_GET(self) -> None:
        after = int(self.path.rpartition("gt:")[2]) if "gt:" in self.path else 0
        body = json.dumps({"messages": ENTRIES[after:], "links": {"next": None}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_ctrl_c_ends_a_real_process_with_the_summary() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.05)
        url = f"http://127.0.0.1:{server.server_port}"
        command = [
            sys.executable,
            "-m",
            "node.cli",
            "audit",
            "--topic",
            "0.0.1001",
            "--mirror",
            url,
            "--follow",
        ]
        root = Path(__file__).resolve().parents[2]
        with Popen(command, cwd=root, stdout=PIPE, stderr=PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(5):
                assert process.stdout.readline().startswith("round ")
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
        server.shutdown()
    assert (process.returncode, errors) == (0, "")
    assert rest.startswith("audit of topic 0.0.1001: ok\n")
