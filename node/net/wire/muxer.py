"""Yamux for large data: libp2p's own, but for the frames that carry data and windows on streams that are open.

Those are nearly all frames. libp2p's loop takes some twenty steps and three locks for each, waits 10 ms at a time for
a window, and writes frames that are one header too long for a message of the cipher's. All else (opening, closing and
resetting streams, pings, errors) is left to it, frame by frame.
"""

import struct
from contextlib import suppress
from typing import Any

import libp2p.stream_muxer.muxer_multistream
import libp2p.stream_muxer.yamux.yamux
import trio
from libp2p.abc import ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, PROTOCOL_ID, Yamux, YamuxStream

from node.net.frames import Budget
from node.net.wire.lean import Eager, LeanStream
from node.net.wire.session import MAX_PLAIN, Session

YAMUX = TProtocol(PROTOCOL_ID)
_HEADER = struct.Struct("!BBHII")
_DATA, _WINDOW = 0, 1
_PAYLOAD = MAX_PLAIN - _HEADER.size
"""Bytes of data in one frame: with its header it is one message of the cipher's."""
_BATCH = 4
"""Frames that are sealed and sent together; what others want to send waits so long."""
WINDOW = 2 * 1024 * 1024
"""Bytes that a peer may send on a stream of ours before they are read."""
MAX_STREAMS = 128
"""Streams of one connection, those that are still being agreed on among them."""
MAX_WINDOW = 4 * 1024 * 1024
"""Bytes of one stream that a peer may send before we have read them."""
MAX_UNREAD = 32 * 1024 * 1024
"""The same of all streams of a connection together."""
SMALL = 4_096
"""Bytes of a data frame from which on it is not counted: what carries much is paced by its bytes."""
FRAME_RATE = 4_000.0
"""Small Yamux frames a second that are read from one connection; twice as many at once."""


class _Paced:
    """A secured connection of which so many small frames a second are read; the rest waits in the socket."""

    def __init__(self, secured: ISecureConn) -> None:
        self._secured = secured
        self._frames = Budget(FRAME_RATE, 2 * FRAME_RATE, trio.current_time())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._secured, name)

    async def read(self, n: int | None = None) -> bytes:
        """Up to n bytes; what asks for as many as a header has is about to read a frame."""
        if n == HEADER_SIZE:
            await self.pace()
        return await self._secured.read(n)

    async def pace(self) -> None:
        """Wait until one more small frame may be read."""
        now = trio.current_time()
        if not self._frames.take(1, now):
            await trio.sleep(self._frames.delay(1, now))
            self._frames.take(1, trio.current_time())

    def give_back(self) -> None:
        """The frame that was read is none of the small ones."""
        self._frames.take(-1, trio.current_time())


class _Streams(dict[int, YamuxStream]):
    def __setitem__(self, number: int, stream: YamuxStream) -> None:
        if len(self) >= MAX_STREAMS:
            raise trio.TooSlowError("too many streams")
        super().__setitem__(number, stream)


class LeanerStream(LeanStream, YamuxStream):
    """A stream of which no lock costs a turn of the scheduler while it is free."""


class BoundedYamux(Yamux):
    """Yamux that closes a connection whose peer ignores windows, or opens streams without end."""

    def __init__(self, secured_conn: ISecureConn, *arguments: Any, **options: Any) -> None:
        self._paced = _Paced(secured_conn)
        super().__init__(self._paced, *arguments, **options)  # type: ignore[arg-type]
        self.streams = _Streams()
        self.streams_lock, self._write_lock = Eager(), Eager()  # type: ignore[assignment]

    async def _read_data_body(self, length: int) -> bytes:
        # A TooSlowError is what `handle_incoming` takes as a reason to close the connection, wherever it comes from.
        if length >= SMALL:
            self._paced.give_back()
        if not self.has_room(length):
            raise trio.TooSlowError("more unread bytes than all windows have")
        return await super()._read_data_body(length)

    def has_room(self, length: int) -> bool:
        """Whether so many bytes more may wait to be read."""
        return sum(map(len, self.stream_buffers.values())) + length <= MAX_UNREAD


class Muxer(BoundedYamux):
    """One connection's streams. Our own code reads and writes them with `read_some` and `write_all`."""

    def __init__(self, secured_conn: ISecureConn, peer_id: ID, *args: Any, **options: Any) -> None:
        assert isinstance(secured_conn, Session)
        super().__init__(_Sieve(secured_conn, self), peer_id, *args, **options)  # type: ignore[arg-type]
        self._session = secured_conn
        self._windows: dict[int, trio.Event] = {}
        """By stream, what is set when there may be room to send again, or none ever more."""

    async def read_some(self, stream: YamuxStream, limit: int) -> bytes:
        """Up to `limit` bytes as soon as there are any, b"" at the end. Raises MuxedStreamReset."""
        number = stream.stream_id
        while not (buffer := self.stream_buffers.get(number)):
            if stream.reset_received or buffer is None or self.event_shutting_down.is_set():
                if stream.recv_closed and not stream.reset_received:
                    return b""
                raise MuxedStreamReset("the stream was reset")
            if stream.recv_closed:
                return b""
            event = self.stream_events[number]
            if event.is_set():
                event = self.stream_events[number] = trio.Event()
            await event.wait()
        if limit >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(memoryview(buffer)[:limit])
            del buffer[:limit]
        if stream.closed:
            await self._finalize_stream(stream, fully_closed=True)
        elif not stream.recv_closed:
            self._widen(stream, len(buffer))
        return data

    async def write_all(self, stream: YamuxStream, data: bytes | memoryview) -> None:
        """Send data as the peer's window allows. Raises MuxedStreamError when the stream, or the connection, ends."""
        view = memoryview(data)
        while view:
            if stream.send_closed or stream.closed or self.event_shutting_down.is_set():
                raise MuxedStreamError("the stream is closed")
            if stream.send_window <= 0:
                event = self._windows[stream.stream_id] = trio.Event()
                await event.wait()
                continue
            frames: list[bytes] = []
            while view and stream.send_window > 0 and len(frames) < _BATCH:
                part = view[: min(_PAYLOAD, stream.send_window)]
                frames.append(_HEADER.pack(0, _DATA, 0, stream.stream_id, len(part)) + part)
                stream.send_window -= len(part)
                view = view[len(part) :]
            async with self._write_lock:
                await self._session.write_messages(frames)

    async def sift(self) -> None:
        """Take in frames until one comes that libp2p's own loop is to deal with, or the connection ends."""
        session = self._session
        while True:
            while session.buffered < _HEADER.size:
                if not await session.fill():
                    return
            _, kind, flags, number, length = _HEADER.unpack(session.peek(_HEADER.size))
            stream = self.streams.get(number)
            if stream is None or flags or kind > _WINDOW:
                return
            if length < SMALL or kind == _WINDOW:
                await self._paced.pace()
            if kind == _WINDOW:
                session.skip(_HEADER.size)
                stream.send_window += length
                self.wake(number)
            elif length > stream.recv_window or not self.has_room(length):
                return  # more than it may send: libp2p's loop deals with it, and complains
            else:
                session.skip(_HEADER.size)
                if not await self._take_in(stream, length):
                    return

    async def _take_in(self, stream: YamuxStream, length: int) -> bool:
        """Append a frame's data to what its stream has unread; False when the connection ends before."""
        session, number = self._session, stream.stream_id
        stream.recv_window -= length
        while length:
            if not session.buffered and not await session.fill():
                return False
            count = min(length, session.buffered)
            buffer = self.stream_buffers.get(number)  # it may be gone since the last part
            if buffer is not None:
                with session.peek(count) as part:
                    buffer += part
            session.skip(count)
            length -= count
        event = self.stream_events.get(number)
        if event is not None:
            event.set()
        return True

    def wake(self, number: int) -> None:
        """Let who waits to send on a stream look again."""
        event = self._windows.pop(number, None)
        if event is not None:
            event.set()

    def _widen(self, stream: YamuxStream, unread: int) -> None:
        """Let the peer send more, once it is worth a frame."""
        more = WINDOW - stream.recv_window - unread
        if more >= WINDOW // 2 and self._nursery is not None:
            stream.recv_window += more
            # Another task sends it: who reads may be cancelled, and half a message would end the connection.
            self._nursery.start_soon(self._tell_window, stream.stream_id, more)

    async def _tell_window(self, number: int, more: int) -> None:
        with suppress(Exception):  # the connection is gone: its loop notices, too
            async with self._write_lock:
                await self._session.write_messages([_HEADER.pack(0, _WINDOW, 0, number, more)])

    async def _cleanup_on_error(self) -> None:
        await super()._cleanup_on_error()
        self._wake_all()

    async def close(self, *args: Any, **options: Any) -> None:
        await super().close(*args, **options)
        self._wake_all()

    def _wake_all(self) -> None:
        for number in list(self._windows):
            self.wake(number)


class _Sieve:
    """The session as libp2p's loop sees it: the frames that the muxer deals with itself never come."""

    def __init__(self, session: Session, muxer: Muxer) -> None:
        self._session = session
        self._muxer = muxer
        self._body = 0
        """Bytes that belong to the frame whose header was handed out last."""
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def read(self, n: int | None = None) -> bytes:
        """What libp2p's loop reads: a header, or the data that belongs to it."""
        if self._body or n is None:
            data = await self._session.read(n)
            self._body = max(0, self._body - len(data))
            return data
        self._muxer.wake(self._number)  # the frame before may have closed its stream
        await self._muxer.sift()
        header = await self._session.read(n)
        if len(header) == _HEADER.size:
            _, kind, _, self._number, length = _HEADER.unpack(header)
            self._body = length if kind == _DATA else 0
        return header


def _made(secured_conn: ISecureConn, *arguments: Any, **options: Any) -> Yamux:
    """Our own on our own sessions; hosts that are not ours, as in tests, have libp2p's."""
    kind = Muxer if isinstance(secured_conn, Session) else Yamux
    return kind(secured_conn, *arguments, **options)


# Libp2p has no other way to say so: it makes Yamux and streams by these names, and lets windows grow.
libp2p.stream_muxer.muxer_multistream.Yamux = _made  # type: ignore[attr-defined,assignment]
libp2p.stream_muxer.yamux.yamux.YamuxStream = LeanerStream  # type: ignore[misc]
libp2p.stream_muxer.yamux.yamux.MAX_WINDOW_SIZE = MAX_WINDOW
