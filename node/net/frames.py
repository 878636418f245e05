"""The bytes of a control stream, sans I/O: frames out, frames in, and how many a peer may send.

frame = length (u32, big-endian) | body      1 <= length <= MAX_FRAME; a length of 0 says "I am still here"
"""

import struct

from node.net.transport import MAX_FRAME

_LENGTH = struct.Struct(">I")

KEEPALIVE = _LENGTH.pack(0)
"""The empty frame: a sign of life; as the first frame it says that the other side is accepted."""


class BadFrame(Exception):
    """A frame that breaks the format, ours or a peer's; the message says how."""


def encoded(body: bytes) -> bytes:
    """A frame ready for the stream. Raises BadFrame unless the body has 1 to MAX_FRAME bytes."""
    if not 1 <= len(body) <= MAX_FRAME:
        raise BadFrame(f"a frame has 1 to {MAX_FRAME} bytes, not {len(body)}")
    return _LENGTH.pack(len(body)) + body


class Deframer:
    """Cuts a byte stream into frames; holds at most one incomplete frame and the piece just fed."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes, keep-alives as empty ones. Raises BadFrame on a huge length."""
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                raise BadFrame(f"a frame of {length} bytes; the most is {MAX_FRAME}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return bodies


class Budget:
    """How much a peer may send: a token bucket that refills at `rate` a second and holds `burst`."""

    __slots__ = ("_burst", "_level", "_rate", "_time")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._time = now

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` out at time `now` (seconds); False, and nothing taken, when it is not there."""
        self._level = min(self._burst, self._level + (now - self._time) * self._rate)
        self._time = now
        if amount > self._level:
            return False
        self._level -= amount
        return True

    def delay(self, amount: float, now: float) -> float:
        """Seconds from `now` until so much is there, if nobody takes anything meanwhile."""
        return max(0.0, (amount - self._level) / self._rate - (now - self._time))
