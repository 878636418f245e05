"""A lock for libp2p's classes, which take one for nearly every step of nearly every frame; most are held by nobody."""

from typing import Any

import trio


class Eager:
    """As trio.Lock in `async with`, but a free one is taken without a turn of the scheduler."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    def write_lock(self) -> "Eager":
        """The side of libp2p's lock for readers and writers that it uses."""
        return self


class LeanStream:
    """Mixed into libp2p's Yamux stream."""

    window_lock: Any
    close_lock: Any
    rw_lock: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.window_lock, self.close_lock, self.rw_lock = Eager(), Eager(), Eager()
