"""The control protocol over any byte stream: frames both ways, and signs of life.

Each side's first frame is empty and says that it accepts the other; later empty frames say that it is alive.
An echo, whose body no message begins like, measures the round trip: 0 "?" and 8 bytes, answered by 0 "!" and the same.
"""

import secrets
from dataclasses import dataclass

import anyio

from node.net.exchange import Lost, Stream
from node.net.frames import KEEPALIVE, BadFrame, Budget, Deframer, encoded
from node.net.inbox import Inbox
from node.net.transport import MAX_FRAME, Frame
from protocol.ids import PeerId

_READ = 65_536
_BATCH = 32_768
_ASK, _ANSWER = b"\0?", b"\0!"
_ECHO = 10
"""Bytes of an echo."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a transport; times are in seconds."""

    outgoing: int = 256
    """Frames queued for one peer before `send` says no."""
    share: int = 64
    """Events of one peer that wait in the inbound queue before its stream is no longer read."""
    ping: float = 5.0
    """Idle time after which a sign of life is sent."""
    silence: float = 20.0
    """How long a peer may send nothing at all."""
    stall: float = 10.0
    """How long one write may take."""
    piece: float = 15.0
    """How long the next piece of a blob may take."""
    dial: float = 10.0
    """How long it may take to connect, and how long to be accepted."""
    retry: float = 0.1
    """The longest first pause between dials to a peer; it doubles up to `retry_soon`."""
    retry_soon: float = 5.0
    """From then on it grows with the peer's absence, up to `retry_most`."""
    retry_most: float = 60.0
    """The longest pause of all: a peer is never given up."""
    settled: float = 10.0
    """How long a connection must have lasted for the pauses to begin anew."""
    dial_rate: float = 1.0
    """Dials a second to one peer in the long run,"""
    dial_burst: float = 16.0
    """and how many at once."""
    dials: float = 32.0
    """Dials a second to all peers together, and four times as many at once."""
    refusal: float = 60.0
    """How long a dropped peer is refused."""
    frame_rate: float = 250.0
    """Frames a second a peer may send in the long run, and twice as many at once; each costs a signature check."""
    byte_rate: float = 8.0 * 1024 * 1024
    """Bytes a second, likewise."""
    blob_streams: int = 4
    """Blobs served to one peer at the same time."""
    handshake: float = 5.0
    """How long a connection may take until its peer is known and its streams can begin."""
    half_open: int = 64
    """Connections whose peer is not known yet; the next one closes the oldest from where most come from."""
    knocks: float = 20.0
    """Connections a second from one address (IPv6: one /64) in the long run, and ten times as many at once."""
    arrivals: float = 0.2
    """Connections a second that a member may open in the long run, and 150 times as many at once."""


class Link:
    """One control stream to one peer, from its first greeting to its end."""

    def __init__(self, peer: PeerId, stream: Stream, limits: Limits, opener: PeerId) -> None:
        self.peer = peer
        self.opener = opener
        """Which of the two opened the stream."""
        self.reason = ""
        """Why it ended, once it has."""
        self.has_misbehaved = False
        """Whether it ended because the peer broke the protocol."""
        self.gone = anyio.Event()
        """Set by the owner when the end has been told to everybody."""
        self.latency: float | None = None
        """Seconds of the last round trip."""
        self._asked: tuple[bytes, float] | None = None
        """The echo that is awaited, and since when."""
        self._echoes = Budget(4 / limits.ping, 8, anyio.current_time())
        self._stream = stream
        self._limits = limits
        self._deframer = Deframer()
        self._early: list[bytes] = []
        self._scope = anyio.CancelScope()
        self._queue, self._queued = anyio.create_memory_object_stream[bytes](limits.outgoing)

    async def greet(self) -> None:
        """Accept the peer and wait until it accepts us. Raises Lost."""
        await self._stream.write(KEEPALIVE)
        until = anyio.current_time() + self._limits.dial  # also for one that says a byte at a time
        while not self._early:
            try:
                left = max(0.0, until - anyio.current_time())
                self._early = self._deframer.feed(await self._received(left))
            except BadFrame as fault:
                raise Lost(str(fault)) from fault
        if self._early.pop(0):
            raise Lost("did not greet")

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False when the queue is full or the link has ended. Raises BadFrame."""
        data = encoded(frame)
        try:
            self._queue.send_nowait(data)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    def end(self, reason: str) -> None:
        """Make `run` return; the first reason given is the one that stays."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def run(self, inbox: Inbox) -> None:
        """Carry frames both ways until the link ends, then leave the cause in `reason`."""
        with self._scope, self._queue, self._queued:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                tasks.start_soon(self._read, inbox)
                tasks.start_soon(self._measure)

    async def _measure(self) -> None:
        """Ask for an echo, at once and then at every ping interval unless one is still awaited."""
        while True:
            now = anyio.current_time()
            if self._asked is None or now - self._asked[1] > self._limits.silence:
                nonce = secrets.token_bytes(_ECHO - len(_ASK))
                self._asked = (nonce, now) if self.send(_ASK + nonce) else None
            await anyio.sleep(self._limits.ping)

    def _on_echo(self, body: bytes, now: float) -> None:
        """Answer a question, as long as they are few: an answer is no longer than its question."""
        tag, nonce = body[: len(_ASK)], body[len(_ASK) :]
        if tag == _ASK and self._echoes.take(1, now):
            self.send(_ANSWER + nonce)
        elif tag == _ANSWER and self._asked is not None and self._asked[0] == nonce:
            self.latency, self._asked = now - self._asked[1], None

    async def _write(self) -> None:
        try:
            while True:
                await self._stream.write(await self._outgoing())
        except Lost as lost:
            self.end(str(lost))

    async def _outgoing(self) -> bytes:
        """What to write next: queued frames, small ones together, or a sign of life when there are none."""
        data = b""
        with anyio.move_on_after(self._limits.ping):
            data = await self._queued.receive()
        while data and len(data) < _BATCH:
            try:
                data += self._queued.receive_nowait()
            except anyio.WouldBlock:
                break
        return data or KEEPALIVE

    async def _read(self, inbox: Inbox) -> None:
        limits, now = self._limits, anyio.current_time()
        frames = Budget(limits.frame_rate, 2 * limits.frame_rate, now)
        volume = Budget(limits.byte_rate, 2 * limits.byte_rate + MAX_FRAME, now)
        bodies = self._early
        try:
            while True:
                now = anyio.current_time()
                if not frames.take(len(bodies), now) or not volume.take(sum(map(len, bodies)), now):
                    raise BadFrame("sends more than its share of frames")
                for body in filter(None, bodies):
                    if len(body) == _ECHO and body.startswith((_ASK, _ANSWER)):
                        self._on_echo(body, now)
                    else:
                        await inbox.put(Frame(self.peer, body))
                bodies = self._deframer.feed(await self._received(limits.silence))
        except BadFrame as fault:
            self.has_misbehaved = True
            self.end(str(fault))
        except Lost as lost:
            self.end(str(lost))

    async def _received(self, within: float) -> bytes:
        data = await self._stream.read(_READ, within)
        if not data:
            raise Lost("closed the stream")
        return data
