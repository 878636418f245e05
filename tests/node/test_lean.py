"""Leaner streams are still libp2p's: they lose no byte, stall nowhere, and talk with hosts that are as they come."""

import hashlib
import subprocess
import sys
from pathlib import Path

import anyio
import trio
from hypothesis import given
from hypothesis import strategies as st

from node.net.lean import UNSAID, Buffered, Eager, LeanStream

ROOT = Path(__file__).parents[2]
PLAIN = Path(__file__).with_name("plain_host.py")


class Script:
    """A raw stream that gives what it is told to, part by part."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.written = b""

    async def read(self, n: int | None = None) -> bytes:
        assert n is None or all(len(part) <= n for part in self.parts)
        return self.parts.pop(0) if self.parts else b""

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close(self) -> None:
        self.written += b"."

    def get_remote_address(self) -> tuple[str, int] | None:
        return "127.0.0.1", 1


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.none() | st.integers(0, 50)))
def test_reading_ahead_gives_the_same_bytes_in_the_same_order(
    parts: list[bytes], sizes: list[int | None]
) -> None:
    async def main() -> None:
        stream, found = Buffered(Script(list(parts))), b""
        for size in [*sizes, *[None] * (len(parts) + 1)]:
            data = await stream.read(size)
            assert size is None or len(data) <= size
            found += data
        assert found == b"".join(parts)
        assert await stream.read(10) == b""

    trio.run(main)


def test_the_rest_is_passed_on() -> None:
    async def main() -> None:
        script = Script([])
        stream = Buffered(script)
        await stream.write(b"abc")
        await stream.close()
        assert (script.written, stream.get_remote_address()) == (b"abc.", ("127.0.0.1", 1))

    trio.run(main)


def test_an_eager_lock_lets_one_in_at_a_time_and_a_free_one_costs_no_turn() -> None:
    async def main() -> None:
        lock, inside, order = Eager(), 0, []

        async def enter(name: int) -> None:
            nonlocal inside
            async with lock.write_lock():
                inside += 1
                assert inside == 1
                await trio.lowlevel.checkpoint()
                order.append(name)
                inside -= 1

        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            async with lock:  # would be cancelled at any checkpoint
                order.append(-1)
        async with trio.open_nursery() as nursery:
            for name in range(5):
                nursery.start_soon(enter, name)
        assert (order[0], sorted(order[1:])) == (-1, [0, 1, 2, 3, 4])

    trio.run(main)


def test_a_stream_says_what_it_has_read_once_it_is_worth_a_frame() -> None:
    said: list[int] = []

    class Base:
        async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
            said.append(bytes_read)

    class Stream(LeanStream, Base):
        pass

    async def main() -> None:
        stream = Stream()
        for _ in range(20):
            await stream._auto_tune_and_send_window_update(bytes_read=UNSAID // 8)
        assert said == [UNSAID, UNSAID]
        await stream._auto_tune_and_send_window_update(bytes_read=10 * UNSAID)
        assert said[2:] == [UNSAID // 2 + 10 * UNSAID]

    trio.run(main)


def test_a_host_as_it_comes_and_ours_echo_more_than_a_window_both_ways() -> None:
    """In a process of its own, libp2p is what it is without us."""
    from tests.node.lean_echo import SIZE, echo_with

    with subprocess.Popen(
        [sys.executable, "-m", "tests.node.plain_host"], cwd=ROOT, stdout=subprocess.PIPE
    ) as plain:
        try:
            assert plain.stdout is not None
            address, peer = plain.stdout.readline().decode().split()
            data = hashlib.shake_256(b"echo").digest(SIZE)

            async def main() -> None:
                with anyio.fail_after(60):
                    assert await echo_with(peer, address, data) == data

            trio.run(main)
        finally:
            plain.kill()
