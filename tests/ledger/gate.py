"""A door in front of a TCP port, to close and open: an outage of the real thing behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup, TaskStatus


class Gate:
    """Forwards 127.0.0.1:port to another port while it is open; closing it cuts every connection."""

    def __init__(self, tasks: TaskGroup, target: str) -> None:
        self._tasks = tasks
        self._host, _, port = target.rpartition(":")
        self._target = int(port)
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._scope, self._closed = anyio.CancelScope(), anyio.Event()
        await self._tasks.start(self._serve)

    async def close(self) -> None:
        self._scope.cancel()
        await self._closed.wait()

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        (listener,) = multi.listeners
        self.port = listener.extra(SocketAttribute.local_port)
        with self._scope:
            async with listener:
                task_status.started()
                await listener.serve(self._forward)
        self._closed.set()

    async def _forward(self, inside: SocketStream) -> None:
        try:
            async with (
                inside,
                await anyio.connect_tcp(self._host, self._target) as outside,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._pump, inside, outside, tasks.cancel_scope)
                tasks.start_soon(self._pump, outside, inside, tasks.cancel_scope)
        except OSError:
            pass

    async def _pump(self, source: SocketStream, sink: SocketStream, both: anyio.CancelScope) -> None:
        try:
            async for data in source:
                await sink.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        both.cancel()


@asynccontextmanager
async def gates(*targets: str) -> AsyncIterator[list[Gate]]:
    """An open gate in front of each `host:port`."""
    async with anyio.create_task_group() as tasks:
        made = [Gate(tasks, target) for target in targets]
        for gate in made:
            await gate.open()
        yield made
        tasks.cancel_scope.cancel()
