"""`roundabout audit` and the frame of all commands, in this process."""

import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

import node.cli.audit
from ledger.keys import sdk_key
from ledger.pages import nanoseconds, read_history
from ledger.topic import LedgerError
from node.cli.exits import one_line
from node.cli.main import main
from protocol.transfers import SharedKey
from tests.ledger.shown import PAYER, TREASURY
from tests.ledger.shown import entry as transaction
from tests.ledger.test_audit import ENTRIES, PLAYED, ChainedRun


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A saved history that holds."""
    return saved(tmp_path, ENTRIES)


def saved(directory: Path, entries: list[dict[str, Any]]) -> Path:
    file = directory / "topic.json"
    file.write_text(json.dumps({"messages": entries}))
    return file


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)], prog_name="roundabout")


def refusal(result: Result) -> str:
    """The one line of a command that could not be run."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("roundabout: ")
    return line


def test_a_history_that_holds(pages: Path) -> None:
    result = audit("--pages", pages)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "audit of topic 0.0.1001: ok" in result.stdout
    assert "5 rounds: 2 accepted, 1 rejected, 0 neutral, 1 closed, 1 passed" in result.stdout
    assert f"head {PLAYED.now.head}" in result.stdout
    for account, amount in PLAYED.now.money.earned:
        assert f"{account} earned {amount} tinybar" in result.stdout


def test_the_report_is_one_json_object(pages: Path) -> None:
    found = json.loads(audit("--pages", pages, "--json").stdout)
    assert found["ok"] is True
    assert found["head"] == PLAYED.now.head
    assert found["credits"] == dict(PLAYED.now.money.earned)


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_a_changed_byte_is_exit_status_1_and_names_the_message(
    tmp_path: Path, form: list[str], index: int
) -> None:
    entries = [dict(entry) for entry in ENTRIES]
    body = bytearray(base64.b64decode(entries[index]["message"]))
    body[len(body) // 2] ^= 1
    entries[index]["message"] = base64.b64encode(body).decode()
    result = audit("--pages", saved(tmp_path, entries), *form)
    assert (result.exit_code, result.stderr) == (1, "")
    if form:
        (violation,) = json.loads(result.stdout)["violations"]
        assert violation["sequence"] == index + 1
    else:
        assert "VIOLATIONS" in result.stdout
        assert f"  message {index + 1}: " in result.stdout


def test_a_false_record_is_exit_status_1(tmp_path: Path) -> None:
    run = ChainedRun()
    sequence = run.put_wrong(run.close(round=9))
    result = audit("--pages", saved(tmp_path, run.entries))
    assert result.exit_code == 1
    assert f"message {sequence}: round 9 is not open; round 1 is (paid by 0.0.7)" in result.stdout


def test_another_topic_than_the_files_is_found_out(pages: Path) -> None:
    result = audit("--pages", pages, "--topic", "0.0.1002")
    assert result.exit_code == 1
    assert "message 1:" in result.stdout


class FakeMirror:
    """A mirror that has the topic that was played, and a treasury that somebody once sent 5 tinybar."""

    gift: ClassVar[dict[str, Any]] = transaction(1, 1, {TREASURY: 5, PAYER: -105})

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> "FakeMirror":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def messages(self, topic: str, after: int = 0) -> AsyncGenerator[dict[str, Any], None]:
        for entry in ENTRIES[after:]:
            yield entry

    async def latest(self) -> int:
        return nanoseconds(ENTRIES[-1]["consensus_timestamp"])

    async def account_page(self, account: str) -> dict[str, Any]:
        key = SharedKey(PLAYED.now.money.keys.required, tuple(m.key for m in PLAYED.genesis.roster))
        shown = {"_type": "ProtobufEncoded", "key": sdk_key(key).to_proto_key().SerializeToString().hex()}
        balance = {"balance": 5, "timestamp": self.gift["consensus_timestamp"]}
        return {"account": account, "balance": balance, "key": shown}

    async def transactions(
        self, account: str, since: int = 0, until: int = 0, **_: object
    ) -> tuple[dict[str, Any], ...]:
        return (self.gift,) if since <= nanoseconds(self.gift["consensus_timestamp"]) <= until else ()


def test_what_a_mirror_returned_can_be_saved_and_audited_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.cli.audit, "Mirror", FakeMirror)
    file = tmp_path / "saved.json"
    live = audit("--topic", "0.0.1001", "--mirror", "http://mirror", "--save", file, "--json")
    assert live.exit_code == 0
    history = read_history(file)
    assert list(history.messages) == ENTRIES
    assert history.transactions == (FakeMirror.gift,)
    assert [shown["account"] for shown in history.accounts] == [TREASURY]
    account = json.loads(live.stdout)["money"]["account"]
    assert (account["balance"], account["source"], account["key"]) == (5, "mirror", "holds")
    assert [each["amount"] for each in account["unclaimed"]] == [5]
    assert audit("--pages", file, "--json").stdout == live.stdout


def test_what_cannot_be_saved_is_said_in_one_line(tmp_path: Path, pages: Path) -> None:
    line = refusal(audit("--pages", pages, "--save", tmp_path / "no" / "where.json"))
    assert "cannot write the history" in line
    assert "choose another place" in line
    assert [path.name for path in tmp_path.iterdir()] == [pages.name]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--topic", "0.0.1"], ["--mirror", "u"], ["--pages", "p", "--mirror", "u"], ["--page", "p"]],
)
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    assert "see `roundabout audit --help`" in refusal(audit(*arguments))


def test_a_file_without_messages_is_no_history(tmp_path: Path) -> None:
    assert "does not say its topic" in refusal(audit("--pages", saved(tmp_path, [])))
    assert "is empty: there is nothing to audit" in refusal(
        audit("--pages", saved(tmp_path, []), "--topic", "0.0.1001")
    )


# ---- the frame of all commands ----


def run_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Result:
    """The command, failing with an error."""

    def fail(_: Path) -> None:
        raise error

    monkeypatch.setattr(node.cli.audit, "read_history", fail)
    return audit("--pages", "x")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    line = refusal(run_with(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch.nn")))
    assert "needs the package torch.nn; install the extra" in line


def test_a_missing_module_of_our_own_is_a_bug_and_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'node.nowhere'", name="node.nowhere")
    assert run_with(monkeypatch, error).exception is error


def test_an_interruption_does_not_say_that_the_audit_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(monkeypatch, KeyboardInterrupt()).exit_code == 130


def test_a_bug_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = RuntimeError("a bug of ours")
    assert run_with(monkeypatch, bug).exception is bug


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["--version"]])
def test_help_is_no_failure(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 0


def test_an_unknown_command_is_one_line() -> None:
    assert "No such command 'adit'" in refusal(CliRunner().invoke(main, ["adit"]))


def test_a_known_error_inside_groups_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    nested = ExceptionGroup("tasks", [ExceptionGroup("more", [LedgerError("first\nsecond")])])
    with pytest.raises(SystemExit) as caught, one_line(LedgerError):
        raise nested
    assert caught.value.code == 2
    assert capsys.readouterr().err == "roundabout: first second\n"


def test_a_bug_beside_a_known_error_is_loud() -> None:
    both = ExceptionGroup("tasks", [LedgerError("away"), RuntimeError("a bug of ours")])
    with pytest.raises(ExceptionGroup), one_line(LedgerError):
        raise both


# ---- the page ----


def test_the_page_is_written_and_says_how_to_repeat_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.cli.audit, "Mirror", FakeMirror)
    file = tmp_path / "report.html"
    result = audit("--topic", "0.0.1001", "--mirror", "http://mirror/x y", "--html", file)
    assert result.exit_code == 0
    written = file.read_text(encoding="utf-8")
    assert PLAYED.now.head in written
    assert "roundabout audit --topic 0.0.1001 --mirror &#x27;http://mirror/x y&#x27;" in written
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_history_with_violations_has_a_page_too(tmp_path: Path) -> None:
    run = ChainedRun()
    run.put_wrong(run.close(round=9))
    file = tmp_path / "report.html"
    result = audit("--pages", saved(tmp_path, run.entries), "--html", file)
    assert result.exit_code == 1
    assert "round 9 is not open" in file.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, pages: Path) -> None:
    line = refusal(audit("--pages", pages, "--html", tmp_path / "no" / "report.html"))
    assert "cannot write the page" in line
