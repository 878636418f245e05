"""The asking end of the blob protocol: one stream to one peer, for all blobs that are fetched from it."""

import math
from collections import deque
from dataclasses import dataclass, field

import anyio

from node.net.exchange import (
    ANSWER,
    REQUEST,
    REQUESTS,
    Kind,
    Lost,
    NotHere,
    Stream,
    parse_answer,
    read_exactly,
)
from node.net.transport import FetchFailed
from protocol.ids import Digest, unbase64url


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
        """stall: how many seconds an answer, and then each part of it, may take."""
        self._stall = stall
        self._put, self._out = anyio.create_memory_object_stream[bytes](REQUESTS)
        self._asked: deque[_Request] = deque()
        self._since = math.inf
        """When the answer that is due began to be waited for; never while it is being read."""
        self._news = anyio.Event()
        self._places = anyio.Semaphore(REQUESTS)
        self._scope = anyio.CancelScope()
        self._lost: Lost | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it has ended."""
        return self._lost is not None

    async def ask(
        self, kind: Kind, digest: Digest, number: int, limit: int, exact: int | None = None
    ) -> bytes | bytearray:
        """The answer, at most `limit` bytes. Raises NotHere, Lost, and FetchFailed when it is of another size."""
        await self._places.acquire()
        if self._lost is not None:
            self._places.release()
            raise Lost(str(self._lost))
        request = _Request(limit, exact)
        if not self._asked:
            self._since = anyio.current_time()
            self._news.set()
        self._asked.append(request)
        self._put.send_nowait(REQUEST.pack(kind, unbase64url(digest, 32), number))
        await request.done.wait()
        if isinstance(request.answer, bytes | bytearray):
            return request.answer
        assert request.answer is not None
        raise request.answer

    async def run(self, stream: Stream) -> None:
        """Carry requests and answers until the stream is lost, or `end`."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    for work in (self._write, self._read, self._watch):
                        tasks.start_soon(work, stream)
        except* Lost as lost:
            self.end(str(lost.exceptions[0]))

    def end(self, reason: str) -> None:
        """Let everybody who waits, or asks later, know that it is over."""
        self._lost = self._lost or Lost(reason)
        self._put.close()
        self._scope.cancel()
        for request in self._asked:
            request.answer = request.answer or Lost(reason)
            request.done.set()
            self._places.release()
        self._asked.clear()

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
        # Also while nothing is asked: a stream that has ended must not be found so by the next request.
        while (header := await read_exactly(stream, ANSWER.size, self._stall, math.inf)) is not None:
            if not self._asked:
                raise Lost("answers what was not asked")
            request, self._since = self._asked[0], math.inf
            try:
                length = parse_answer(header, request.limit, request.exact)
                request.answer = await self._body(stream, length)
            except NotHere as refused:
                request.answer = refused
            except FetchFailed as fault:
                request.answer = fault
                raise Lost(str(fault)) from fault  # nothing that follows can be trusted to be in order
            self._asked.popleft()
            self._since = anyio.current_time()
            request.done.set()
            self._places.release()
        raise Lost("ended the stream")

    async def _body(self, stream: Stream, length: int) -> bytes | bytearray:
        body = await read_exactly(stream, length, self._stall) if length else b""
        if body is None:
            raise Lost("ended in the middle")
        return body

    async def _watch(self, stream: Stream) -> None:
        """Raises Lost when an answer does not begin in time."""
        while True:
            if not self._asked:
                self._news = anyio.Event()
                await self._news.wait()
            since = self._since
            await anyio.sleep(
                self._stall if since == math.inf else since + self._stall - anyio.current_time()
            )
            if self._asked and anyio.current_time() >= self._since + self._stall:
                raise Lost(f"sent nothing for {self._stall:g} s")
