"""`roundabout simulate`: what it prints, how it exits, and that a seed is always the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.simulate import command
from node.journal import Journal

ROOT = Path(__file__).parents[2]
SMALL = ["--peers", "4", "--rounds", "3", "--byzantine", "1"]


def simulate(*options):
    return CliRunner().invoke(command, [*SMALL, *options])


def test_the_last_line_is_one_object():
    result = simulate("--seeds", "6", "--first-seed", "40", "--jobs", "1", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["seeds"], told["first_seed"], told["rounds"]) == (6, 40, 18)
    assert sum(told["endings"].values()) == 18
    assert told["violations"] == []
    assert told["seconds"] > 0
    assert all(count > 0 for count in told["faults"].values())


def test_several_processes_find_the_same():
    one, two = (
        json.loads(simulate("--seeds", "24", "--jobs", jobs, "--json").stdout.splitlines()[-1])
        for jobs in ("1", "2")
    )
    for name in ("seeds", "rounds", "endings", "faults", "violations"):
        assert one[name] == two[name], name


def test_people_are_told_what_held():
    result = simulate("--seeds", "2", "--jobs", "1")
    assert "every invariant held" in result.stdout
    assert "6 rounds" in result.stdout


def test_a_broken_seed_is_named_and_can_be_shown_again(monkeypatch):
    monkeypatch.setattr(Journal, "remember", lambda self, *entry: None)
    options = ["--peers", "5", "--rounds", "12", "--byzantine", "1"]
    result = CliRunner().invoke(command, [*options, "--seeds", "60", "--jobs", "1", "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout.splitlines()[-1])["violations"][0]
    assert told["invariant"] == "one body a slot and round"
    assert f"seed {told['seed']}: one body a slot and round" in result.stderr
    assert told["replay"] in result.stderr
    again = CliRunner().invoke(command, told["replay"].split()[2:])
    assert again.exit_code == 1
    assert told["detail"] in again.stderr


def test_a_crash_of_a_node_is_a_finding(monkeypatch):
    monkeypatch.setattr("protocol.duties.decide", lambda *inputs: 1 // 0)
    result = simulate("--seeds", "1", "--jobs", "1")
    assert result.exit_code == 1
    assert "seed 0: nothing raises: ZeroDivisionError" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--trace"], "add --seed"),
        (["--byzantine", "2"], "half or more"),
        (["--committee", "7"], "at least 21"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(options, reason):
    result = CliRunner().invoke(command, [*SMALL, *options])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_trace_is_the_same_in_every_process():
    traces = []
    for salt in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", "simulate", *SMALL, "--seed", "3", "--trace"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.splitlines()
        assert "seeds/s" in lines.pop()
        traces.append(lines)
    assert traces[0] == traces[1] == traces[2]
    assert len(traces[0]) > 100
    assert any("has signed its vote" in line for line in traces[0])
    assert any("topic" in line and "verdict" in line for line in traces[0])
    assert any("everything heals" in line for line in traces[0])
