"""The demo's operating-system processes: started here, and none of them left behind."""

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
from anyio.abc import Process

from node.demo.layout import DemoError, Layout

START_SECONDS = 30.0
STOP_SECONDS = 10.0

# Several learners share the machine: one thread each.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def roundabout(*arguments: str) -> list[str]:
    """The command line of one of our own commands, with this interpreter."""
    return [sys.executable, "-m", "node.cli", *arguments]


@dataclass(slots=True)
class Family:
    """The children of this process."""

    layout: Layout
    localnet: Process | None = None
    nodes: list[Process] = field(default_factory=list)
    others: list[Process] = field(default_factory=list)

    async def start_localnet(self) -> Mapping[str, Any]:
        """Start the embedded network, and read what it says of itself once it is serving. Raises DemoError."""
        directory = self.layout.localnet
        self.localnet = await self._start(
            "localnet", roundabout("localnet", "--dir", str(directory), "--any-port")
        )
        self._note()
        card = directory / "localnet.json"
        with anyio.move_on_after(START_SECONDS):
            while not card.exists():
                if self.localnet.returncode is not None:
                    raise DemoError(f"the embedded network did not start: {self.last_line('localnet')}")
                await anyio.sleep(0.05)
            facts: Mapping[str, Any] = json.loads(card.read_text())
            return facts
        raise DemoError(
            f"the embedded network did not start in {START_SECONDS:.0f} s; see {self.layout.log('localnet')}"
        )

    async def start_node(self, place: int) -> None:
        """Start one member's daemon."""
        config = self.layout.node(place) / "node.toml"
        self.nodes.append(await self._start(f"node-{place}", roundabout("node", "--config", str(config))))
        self._note()

    async def start_other(self, arguments: Sequence[str]) -> Process:
        """Start a process that talks to us over its standard input and output."""
        process = await anyio.open_process(
            [sys.executable, *arguments],
            stderr=DEVNULL,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
        self.others.append(process)
        return process

    def last_line(self, name: str) -> str:
        """The last line that a process logged: why it ended, if it did."""
        lines = self.layout.log(name).read_text(errors="replace").splitlines()
        return lines[-1][:400] if lines else f"it said nothing; see {self.layout.log(name)}"

    def dead_nodes(self) -> list[int]:
        """Places of the daemons that have ended."""
        return [place for place, node in enumerate(self.nodes) if node.returncode is not None]

    def how_ended(self, place: int) -> str:
        """Why the daemon of a member is gone: the signal that killed it, or its own last words."""
        status = self.nodes[place].returncode
        if status is not None and status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return self.last_line(f"node-{place}")

    async def stop_nodes(self) -> None:
        """End the daemons: first asked, then made to."""
        await stop(self.nodes)

    async def stop_all(self) -> None:
        """End every child."""
        await stop([*self.others, *self.nodes])
        await stop([] if self.localnet is None else [self.localnet])

    async def _start(self, name: str, command: Sequence[str]) -> Process:
        log = self.layout.log(name).open("w")
        try:
            return await anyio.open_process(
                command,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,  # Ctrl-C is for us: we end them in good order
            )
        finally:
            log.close()

    def _note(self) -> None:
        """Say who runs, for whoever wants to look at, or kill, a process in mid-run."""
        pids = {
            "localnet": None if self.localnet is None else self.localnet.pid,
            "nodes": [node.pid for node in self.nodes],
        }
        file = self.layout.out / "processes.json"
        draft = file.with_suffix(".tmp")
        draft.write_text(json.dumps(pids) + "\n")
        draft.replace(file)


async def stop(processes: Sequence[Process]) -> None:
    """End processes: SIGTERM, and SIGKILL for those that are still there after a while."""
    running = [process for process in processes if process.returncode is None]
    for process in running:
        process.terminate()
    with anyio.move_on_after(STOP_SECONDS):
        for process in running:
            await process.wait()
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def family(layout: Layout) -> AsyncIterator[Family]:
    """The demo's children, none of which outlives the context, however it ends."""
    children = Family(layout)
    try:
        yield children
    finally:
        with anyio.CancelScope(shield=True):
            await children.stop_all()
            (layout.out / "processes.json").unlink(missing_ok=True)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def read_events(log: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The structured log events after an offset, and the offset after the last whole line."""
    with log.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a traceback, or a word of a library that is not structured
        if isinstance(event, dict):
            events.append(event)
    return events, offset + len(whole)
