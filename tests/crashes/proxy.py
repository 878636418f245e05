"""A TCP proxy in front of a consensus node, which has somebody killed at an exact point of what passes through it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

When = Literal["before", "after"]


@dataclass(frozen=True)
class Point:
    """A point at which to kill."""

    when: When
    """Before a request reaches the node; or after the node has answered it, before its caller knows."""
    number: int
    """Of what callers send, from the moment that the point is set: frames come in several pieces a request."""


class Proxy:
    """Passes bytes on, and counts what callers send."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._point: Point | None = None
        self._kill: Callable[[], None] = lambda: None
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.fired = asyncio.Event()

    def kill_at(self, point: Point, kill: Callable[[], None]) -> None:
        """From now on, count, and kill at a point."""
        self._point, self._kill, self._count = point, kill, 0
        self.fired = asyncio.Event()

    def fire(self) -> None:
        """It is time."""
        self._point = None
        self._kill()
        self.fired.set()

    async def close(self) -> None:
        """End the connections that are left."""
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0)

    async def on_call(self, caller: asyncio.StreamReader, to_caller: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either end closes it or the point is reached."""
        with suppress(OSError):
            node, to_node = await asyncio.open_connection("127.0.0.1", self._target)
            awaited = asyncio.Event()

            async def forth() -> None:
                while piece := await caller.read(65_536):
                    self._count += 1
                    point = self._point
                    if point is not None and self._count >= point.number:
                        if point.when == "before":
                            self.fire()
                            return
                        awaited.set()
                    to_node.write(piece)

            async def back() -> None:
                while piece := await node.read(65_536):
                    if awaited.is_set() and self._point is not None:
                        self.fire()
                        return
                    to_caller.write(piece)

            both = {asyncio.create_task(forth()), asyncio.create_task(back())}
            self._tasks |= both
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
                self._tasks -= both
                to_node.close()
        to_caller.close()


@asynccontextmanager
async def proxy_to(target: int, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Proxy]:
    """A proxy to a port of 127.0.0.1, on a port of its own."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.on_call, address, port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
