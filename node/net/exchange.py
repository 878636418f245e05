"""The blob protocol over any byte stream: many requests, one after the other, each with one answer, in order.

request = kind (u8) | SHA-256 of the blob (32 bytes) | number (u32, big-endian)
answer  = status (u8: 0 found, 1 not found) | length (u32) | as many bytes

kind 1: the list of the blob's pieces, 32 bytes each; the number is 0
kind 2: which pieces are here, one bit each; once they are more than the number, or when nothing changes for a while,
        or when the peer asks for something else
kind 3: the piece of this number, at most 1 MiB
"""

import math
import struct
from enum import IntEnum
from typing import Protocol

import anyio

from node.net.transport import BlobSource, FetchFailed, Held
from node.pieces import DIGEST_BYTES, off_loop
from protocol.ids import Digest, base64url

REQUEST = struct.Struct(">B32sI")
ANSWER = struct.Struct(">BI")
FOUND, NOT_FOUND = 0, 1
SLOWEST = 65_536
"""Bytes a second below which a peer is not worth waiting for."""
REQUESTS = 16
"""Requests that may wait for their answers on one stream; who asks for more is cut off."""
HOLD = 5.0
"""Seconds for which a question of kind 2 is held while nothing changes."""
PART = 262_028
"""Bytes of one write: four of the multiplexer's frames, each in one message of the cipher's."""


class Kind(IntEnum):
    """What is asked for."""

    LIST = 1
    HAVE = 2
    PIECE = 3


class Lost(Exception):
    """A stream or connection to a peer is gone, or was given up; the message says why."""


class NotHere(Exception):
    """The peer has not got what it was asked for."""


class Stream(Protocol):
    """A byte stream to a peer; every failure is Lost."""

    async def read(self, limit: int, within: float) -> bytes:
        """Up to `limit` bytes, b"" when the peer has finished. Raises Lost, also after `within` seconds."""

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises Lost, also when the peer does not take it in time."""


class Desk:
    """Answers one stream's requests."""

    def __init__(self, stream: Stream, source: BlobSource, stall: float) -> None:
        """stall: how many seconds the rest of a request may take once it has begun."""
        self._stream = stream
        self._source = source
        self._stall = stall
        self._put, self._requests = anyio.create_memory_object_stream[bytes | bytearray](REQUESTS)
        self._holding: anyio.CancelScope | None = None
        self._lost: Lost | None = None

    async def serve(self) -> None:
        """Answer until the peer ends the stream. Raises Lost, and whatever the source raises."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear)
            try:
                await self._answer_all()
            except Lost as lost:
                self._lost = self._lost or lost
            tasks.cancel_scope.cancel()
        if self._lost is not None:
            raise self._lost

    async def _hear(self) -> None:
        # What is being answered when it ends is not cancelled: half a write would end the connection.
        try:
            while (
                request := await read_exactly(self._stream, REQUEST.size, self._stall, math.inf)
            ) is not None:
                self._put.send_nowait(request)
                self._let_go()
        except Lost as lost:
            self._lost = lost
        except anyio.WouldBlock:
            self._lost = Lost(f"asks for more than {REQUESTS} things at once")
        self._put.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._holding is not None:
            self._holding.cancel()

    async def _answer_all(self) -> None:
        """Until there are no more requests. Raises Lost."""
        async for request in self._requests:
            if self._lost is not None:
                return
            body = await self._body(*parse_request(request))
            if body is None:
                await self._stream.write(ANSWER.pack(NOT_FOUND, 0))
            else:
                answer = memoryview(ANSWER.pack(FOUND, len(body)) + body)
                for start in range(0, len(answer), PART):
                    await self._stream.write(answer[start : start + PART])

    async def _body(self, kind: Kind, digest: Digest, number: int) -> bytes | None:
        """What to answer, or None: it is not here."""
        if kind is Kind.HAVE:
            return await self._have(digest, number)
        held = await self._source.held(digest)
        if kind is Kind.LIST:
            return None if held is None or held.pieces is None else held.pieces.listed
        if held is None or not held.has(number):
            return None
        try:
            return await off_loop(held.size, held.read, number)
        except FileNotFoundError:
            return None  # The store forgot it since it was asked.

    async def _have(self, digest: Digest, known: int) -> bytes | None:
        with anyio.move_on_after(HOLD) as self._holding:
            while not self._is_news(held := await self._source.held(digest), known):
                if self._requests.statistics().current_buffer_used:
                    break
                await self._source.grown()
        self._holding = None
        held = await self._source.held(digest)
        return None if held is None else held.bits()

    def _is_news(self, held: Held | None, known: int) -> bool:
        return held is not None and held.have > known


def parse_request(raw: bytes | bytearray) -> tuple[Kind, Digest, int]:
    """What is asked for. Raises Lost when it is nothing that can be."""
    kind, name, number = REQUEST.unpack(raw)
    if kind not in set(Kind):
        raise Lost(f"asks for the unknown kind {kind}")
    return Kind(kind), Digest(base64url(name)), number


def parse_answer(raw: bytes | bytearray, limit: int, exact: int | None) -> int:
    """How many bytes follow an answer's first five: at most `limit`, and exactly `exact` where that is known.

    Raises NotHere, and FetchFailed when it is no answer to that.
    """
    status, length = ANSWER.unpack(raw)
    if status == NOT_FOUND and not length:
        raise NotHere("does not have it")
    if status != FOUND:
        raise FetchFailed(f"answered with the unknown status {status}")
    if exact is not None and length != exact:
        raise FetchFailed(f"offers {length} bytes where {exact} are expected")
    if length > limit:
        raise FetchFailed(f"answers with {length} bytes where at most {limit} are expected")
    return int(length)


async def read_exactly(
    stream: Stream, size: int, stall: float, first: float | None = None
) -> bytes | bytearray | None:
    """So many bytes; each part may take `stall` seconds, the first one `first` where that is another time.

    All of them together come at SLOWEST or faster, else whoever drips could hold us for ever.
    None when the peer has finished before the first. Raises Lost.
    """
    data = await stream.read(size, stall if first is None else first)
    if not data:
        return None
    if len(data) == size:
        return data
    until = anyio.current_time() + stall + size / SLOWEST
    whole, at = bytearray(size), len(data)
    whole[:at] = data
    while at < size:
        part = await stream.read(size - at, stall)
        if not part:
            raise Lost("ended in the middle")
        if anyio.current_time() > until:
            raise Lost(f"sends less than {SLOWEST} bytes a second")
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


def list_bytes(count: int) -> int:
    """Bytes of the list of so many pieces."""
    return count * DIGEST_BYTES
