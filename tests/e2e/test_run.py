"""Whole runs with real processes, real libp2p and a real (embedded) Hedera network."""

import base64
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import DemoProcess, is_running, roundabout

Demo = Callable[..., DemoProcess]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_run_from_beginning_to_audit(demo: Demo) -> None:
    run = demo("--peers", "3", "--rounds", "3", "--seed", "1")
    run.until(lambda: (run.out / "processes.json").exists() and len(run.pids()["nodes"]) == 3)
    learners = [child for node in run.pids()["nodes"] for child in children_of(node)]
    status, output, errors = run.end()
    assert status == 0, errors
    assert "audit of topic" in output
    assert not [pid for pid in run.seen + learners if is_running(pid)]
    assert not (run.out / "processes.json").exists()

    found = json.loads((run.out / "audit.json").read_text())
    assert found["ok"] is True
    assert found["violations"] == []
    assert found["rounds"] == 3
    assert sum(found[name] for name in ("accepted", "rejected", "neutral", "closed", "passed")) == 3
    assert found["accepted"] >= 1
    voted = sum(
        len(entry["votes"]) for entry in found["timeline"] if entry["ending"] in ("accepted", "rejected")
    )
    assert 3 <= voted <= 6, "on a busy machine the last vote may come too late"
    assert sum(member["vote_credits"] for member in found["participants"]) == 1_000_000 * voted
    proposals = sum(member["proposal_credits"] for member in found["participants"])
    assert 0 <= proposals <= 10_000_000 * found["accepted"]
    check_paid(found, proposals + 1_000_000 * voted, output)

    summary = json.loads((run.out / "summary.json").read_text())
    assert 0 < summary["labels"] <= 3 * 3 * 83  # all contribute to each round, if they are in time
    families = {"gentle-wide", "gentle-narrow", "medium", "tight-wide", "tight-narrow"}
    for policy in ("initial", "final", "alone"):
        assert set(summary["lap_success"][policy]) == families
        assert all(0 <= value <= 1 for value in summary["lap_success"][policy].values())
    assert "audit of topic" in (run.out / "report.html").read_text()
    assert (run.out / "rounds.png").read_bytes().startswith(b"\x89PNG")
    check_offline(run.out)


def check_paid(found: Any, earned: int, output: str) -> None:
    """Everybody has what they earned, the founder what was left, and the treasury what it must."""
    money = found["money"]
    assert sum(account["earned"] for account in money["accounts"].values()) == earned
    assert all(account["owed"] == 0 for account in money["accounts"].values())
    assert money["owed"] == money["stakes"] == 0
    assert money["paid"] == money["deposits"] - money["pool"] - money["fees"]
    assert money["account"]["balance"] == money["liabilities"] == money["pool"]
    assert money["account"]["key"] == "holds"
    assert output.count("settlement ") == len(money["settlements"]) >= 1


def check_offline(out: Path) -> None:
    """The saved pages are as good as the mirror, and one changed byte is found and named."""
    again = roundabout("audit", "--pages", str(out / "topic.json"), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["head"] == json.loads((out / "audit.json").read_text())["head"]
    pages = json.loads((out / "topic.json").read_text())
    assert pages["transactions"], "the members' transactions are saved, too"
    for index in (0, len(pages["messages"]) // 2, len(pages["messages"]) - 1):
        entry = pages["messages"][index]
        whole = entry["message"]
        body = bytearray(base64.b64decode(whole))
        body[len(body) // 2] ^= 1
        entry["message"] = base64.b64encode(body).decode()
        changed = out / "changed.json"
        changed.write_text(json.dumps(pages))
        entry["message"] = whole
        refused = roundabout("audit", "--pages", str(changed))
        assert refused.returncode == 1
        assert f"message {entry['sequence_number']}:" in refused.stdout


@pytest.mark.slow
def test_the_others_go_on_when_one_daemon_is_killed(demo: Demo) -> None:
    run = demo("--peers", "4", "--rounds", "4", "--seed", "2")
    run.until(lambda: len(run.closed_rounds()) >= 1)
    os.kill(run.pids()["nodes"][1], signal.SIGKILL)
    status, output, errors = run.end()
    assert status == 0, errors
    found = json.loads((run.out / "audit.json").read_text())
    assert found["ok"] is True
    assert found["rounds"] == 4
    after = [entry for entry in found["timeline"][2:] if entry["proposer"] != 1]
    assert [entry["ending"] for entry in after if entry["ending"] in ("accepted", "rejected")], (
        "rounds are decided"
    )
    assert all(entry["ending"] == "closed" for entry in found["timeline"][2:] if entry["proposer"] == 1)
    assert "the daemon of member 1 has ended" in output


def test_ctrl_c_leaves_no_process_behind(demo: Demo) -> None:
    run = demo("--peers", "2", "--rounds", "50")
    run.until(lambda: (run.out / "processes.json").exists() and len(run.pids()["nodes"]) == 2)
    learners = [child for node in run.pids()["nodes"] for child in children_of(node)]
    run.process.send_signal(signal.SIGINT)
    status, output, _ = run.end()
    assert status == 130
    assert "no process is left behind" in output
    assert not [pid for pid in run.seen + learners if is_running(pid)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_go_on_when_two_of_five_are_killed(demo: Demo) -> None:
    run = demo("--peers", "5", "--rounds", "10", "--seed", "3")
    run.until(lambda: len(run.closed_rounds()) >= 2)
    for pid in run.pids()["nodes"][3:]:
        os.kill(pid, signal.SIGKILL)
    run.process.wait(500)
    found = json.loads((run.out / "audit.json").read_text())
    assert found["ok"] is True
    assert found["rounds"] == 10
    late = found["timeline"][5:]
    assert [entry for entry in late if entry["ending"] in ("accepted", "rejected")], (
        "rounds are decided again"
    )
    assert {entry["proposer"] for entry in found["timeline"][-2:]} <= {0, 1, 2}, (
        "the dead ones' turns are skipped"
    )
