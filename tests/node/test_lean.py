"""Leaner streams are still libp2p's: they lose no byte, stall nowhere, and talk with hosts that are as they come."""

import hashlib
import subprocess
import sys
from pathlib import Path

import anyio
import trio

from node.net.wire.lean import Eager

ROOT = Path(__file__).parents[2]
PLAIN = Path(__file__).with_name("plain_host.py")


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
