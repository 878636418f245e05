"""Reading from a peer that takes its time."""

import anyio
import pytest

from node.net import exchange
from node.net.exchange import Lost, read_exactly


class Drip:
    """A stream of which each read gives one byte, after a while."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self, limit: int, within: float) -> bytes:
        self.reads += 1
        await anyio.sleep(0.01)
        return b"x"

    async def write(self, data: bytes) -> None:
        raise AssertionError("nobody writes here")


async def test_whoever_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SLOWEST", 10_000_000)
    stream = Drip()
    with pytest.raises(Lost, match="less than"):
        await read_exactly(stream, 100_000, stall=0.05)
    assert stream.reads < 100_000


async def test_a_slow_peer_that_is_quick_enough_is_waited_for() -> None:
    assert await read_exactly(Drip(), 20, stall=5.0) == b"x" * 20
