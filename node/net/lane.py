"""The asking end of the blob protocol: one stream to one peer, for all blobs that are fetched from it."""

from collections import deque
from dataclasses import dataclass, field

import anyio

from node.net.exchange import ANSWER, FOUND, NOT_FOUND, REQUEST, REQUESTS, Kind, Lost, Stream, read_exactly
from node.net.transport import FetchFailed
from protocol.ids import Digest, unbase64url


class Refused(Exception):
    """The peer has not got what it was asked for."""


@dataclass(slots=True)
class _Request:
    limit: int
    """The most bytes that the answer may have."""
    exact: int | None
    """How many it must have, where that is known."""
    answer: bytes | bytearray | Exception | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Lane:
    """Requests to one peer; the answers come in the order of the requests, also of those nobody waits for any more."""

    def __init__(self, stall: float) -> None:
        """stall: how many seconds the next part of an answer may take."""
        self._stall = stall
        self._put, self._out = anyio.create_memory_object_stream[bytes](REQUESTS)
        self._asked: deque[_Request] = deque()
        self._news = anyio.Event()
        self._places = anyio.Semaphore(REQUESTS)
        self._lost: Lost | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it has ended."""
        return self._lost is not None

    async def ask(
        self, kind: Kind, digest: Digest, number: int, limit: int, exact: int | None = None
    ) -> bytes | bytearray:
        """The answer, at most `limit` bytes. Raises Refused, Lost, and FetchFailed when it is of another size."""
        await self._places.acquire()
        if self._lost is not None:
            raise Lost(str(self._lost))
        request = _Request(limit, exact)
        self._asked.append(request)
        self._put.send_nowait(REQUEST.pack(kind, unbase64url(digest, 32), number))
        self._news.set()
        await request.done.wait()
        if isinstance(request.answer, bytes | bytearray):
            return request.answer
        assert request.answer is not None
        raise request.answer

    async def run(self, stream: Stream) -> None:
        """Carry requests and answers until the stream is lost, or `end`."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, stream)
                tasks.start_soon(self._read, stream)
        except* Lost as lost:
            self.end(str(lost.exceptions[0]))

    def end(self, reason: str) -> None:
        """Let everybody who waits, or asks later, know that it is over."""
        self._lost = self._lost or Lost(reason)
        self._put.close()
        for request in self._asked:
            request.answer = request.answer or Lost(reason)
            request.done.set()
            self._places.release()
        self._asked.clear()
        self._news.set()

    async def _write(self, stream: Stream) -> None:
        async for request in self._out:
            data = request
            while len(data) < REQUESTS * REQUEST.size:
                try:
                    data += self._out.receive_nowait()
                except (anyio.WouldBlock, anyio.EndOfStream):
                    break
            await stream.write(data)

    async def _read(self, stream: Stream) -> None:
        while self._lost is None:
            if not self._asked:
                self._news = anyio.Event()
                await self._news.wait()
                continue
            request = self._asked[0]
            header = await read_exactly(stream, ANSWER.size, self._stall)
            if header is None:
                raise Lost("ended the stream")
            status, length = ANSWER.unpack(header)
            request.answer = self._fault(request, status, length)
            if isinstance(request.answer, FetchFailed):
                raise Lost(str(request.answer))  # nothing that follows can be trusted to be in order
            if request.answer is None:
                body = await read_exactly(stream, length, self._stall) if length else b""
                if body is None:
                    raise Lost("ended in the middle")
                request.answer = body
            self._asked.popleft()
            request.done.set()
            self._places.release()

    @staticmethod
    def _fault(request: _Request, status: int, length: int) -> Exception | None:
        if status == NOT_FOUND and not length:
            return Refused("does not have it")
        if status != FOUND:
            return FetchFailed(f"answered with the unknown status {status}")
        if request.exact is not None and length != request.exact:
            return FetchFailed(f"offers {length} bytes where {request.exact} are expected")
        if length > request.limit:
            return FetchFailed(f"answers with {length} bytes where at most {request.limit} are expected")
        return None
