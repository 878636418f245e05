"""Less work for each frame of libp2p's: what wire mixes into its classes, which are not imported here.

A vote is 300 bytes. libp2p took nine turns of the scheduler for it, most of them to take locks that nobody held,
and answered every read with a frame of its own. On the wire nothing is another, but for fewer of those answers.
"""

from typing import Any, Protocol

import trio

READ = 65_536
"""Bytes asked of a socket at a time."""
UNSAID = 65_536
"""Bytes that a stream has read before it tells its peer so; a quarter of the smallest window."""


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
        self._unsaid = 0

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Tell the peer what was read once it is worth a frame; it still has three quarters of its window."""
        self._unsaid += bytes_read
        if self._unsaid >= UNSAID:
            unsaid, self._unsaid = self._unsaid, 0
            await super()._auto_tune_and_send_window_update(bytes_read=unsaid)  # type: ignore[misc]


class LeanMuxer:
    """Mixed into libp2p's Yamux connection."""

    secured_conn: Any
    streams_lock: Any
    _write_lock: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.streams_lock, self._write_lock = Eager(), Eager()

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            await self.secured_conn.write(data)

    async def _read_data_body(self, length: int) -> bytes:
        """Without a deadline for each frame: who says nothing more loses its control stream, and this with it."""
        body: bytes = await self.secured_conn.read(length)
        if len(body) < length:  # the connection has ended, which libp2p says in its own words
            body += await super()._read_data_body(length - len(body))  # type: ignore[misc]
        return body


class RawStream(Protocol):
    """What libp2p reads from and writes to."""

    async def read(self, n: int | None = None) -> bytes:
        """Up to n bytes; none at the end."""

    async def write(self, data: bytes) -> None:
        """Send all of it."""

    async def close(self) -> None:
        """Close it."""

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""


class Buffered:
    """A RawStream that reads ahead: each frame is asked for in parts, its length first."""

    __slots__ = ("_ahead", "_at", "_stream")

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        self._ahead = b""
        self._at = 0

    async def read(self, n: int | None = None) -> bytes:
        """Up to n bytes; none at the end."""
        if n == 0:
            return b""
        if self._at == len(self._ahead):
            if n is not None and n >= READ:
                return await self._stream.read(n)  # who asks for so much reads ahead by itself
            self._ahead, self._at = await self._stream.read(READ), 0
        end = len(self._ahead) if n is None else min(self._at + n, len(self._ahead))
        data, self._at = self._ahead[self._at : end], end
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Close it."""
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self._stream.get_remote_address()
