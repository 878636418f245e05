"""Real runs for the end-to-end tests: the demo command, as a person would start it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.founded import Founded

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0


def roundabout(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """One of our commands, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


@dataclass
class DemoProcess:
    """`roundabout demo` as a child of the test."""

    out: Path
    process: subprocess.Popen[str]
    seen: list[int] = field(default_factory=list)
    """Every process id that processes.json has named."""

    def pids(self) -> dict[str, Any]:
        """Who runs, from processes.json."""
        facts: dict[str, Any] = json.loads((self.out / "processes.json").read_text())
        self.seen = sorted({*self.seen, facts["localnet"], *facts["nodes"]})
        return facts

    def closed_rounds(self) -> list[dict[str, Any]]:
        """The rounds that any daemon has logged as closed."""
        found = {}
        for log in (self.out / "logs").glob("node-*.jsonl"):
            for line in log.read_text().splitlines():
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "round closed":
                    found[event["round"]] = event
        return [found[number] for number in sorted(found)]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; fail when the demo ends first, or never gets there."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.2)

    def end(self) -> tuple[int, str, str]:
        """Wait for the demo's own end: status, standard output, standard error."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., DemoProcess]]:
    """Starts demos, and leaves none behind."""
    started: list[DemoProcess] = []

    def start(*arguments: str) -> DemoProcess:
        out = tmp_path / f"out-{len(started)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "demo", "--out", str(out), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(DemoProcess(out, process))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            one.process.wait(30)


def is_running(pid: int) -> bool:
    """Whether a process of that id exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Founded"]:
    """One network and one run, for all tests of single commands."""
    from tests.e2e.founded import founded_run  # which needs this very file

    with founded_run(tmp_path_factory.mktemp("founded")) as world:
        yield world
