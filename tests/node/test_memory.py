"""The in-memory network: faults on demand, the same run every time, under virtual time."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing

from node.blobs import Blobs
from node.net.inbox import Inbox
from node.net.memory import MemoryTransport, Network
from node.net.transport import Connected, Disconnected, FetchFailed, Frame, Inbound
from node.pieces import Wanted
from protocol.ids import PeerId, digest_of
from tests.node.test_transport_contract import fetched

A, B, C = (PeerId(name) for name in "ABC")


async def events(node: MemoryTransport, count: int) -> list[Inbound]:
    return [await anext(node.inbound()) for _ in range(count)]


def joined(network: Network, blobs: Blobs, *peers: PeerId) -> list[MemoryTransport]:
    """New nodes, which admit everybody."""
    nodes = [network.join(peer, blobs) for peer in peers]
    for node in nodes:
        node.admit(frozenset((A, B, C)))
    return nodes


def play(scenario: Callable[[anyio.abc.TaskGroup], Awaitable[None]]) -> None:
    """Run under virtual time; a scenario that waits for ever fails at once."""

    async def main() -> None:
        with trio.fail_after(1_000):
            async with anyio.create_task_group() as tasks:
                await scenario(tasks)
                tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_cut_loses_what_is_under_way_and_heals(tmp_path: Path) -> None:
    async def scenario(tasks: anyio.abc.TaskGroup) -> None:
        network = Network(tasks, latency=1.0)
        a, b = joined(network, Blobs(tmp_path), A, B)
        assert await events(b, 1) == [Connected(A)]
        assert a.send(B, b"lost")
        network.cut(A, B)
        assert not a.send(B, b"refused")
        network.heal(A, B)
        assert a.send(B, b"arrives")
        assert await events(b, 3) == [Disconnected(A), Connected(A), Frame(A, b"arrives")]
        assert await events(a, 3) == [Connected(B), Disconnected(B), Connected(B)]

    play(scenario)


def test_a_node_that_restarts_is_connected_anew(tmp_path: Path) -> None:
    async def scenario(tasks: anyio.abc.TaskGroup) -> None:
        network = Network(tasks)
        a, b = joined(network, Blobs(tmp_path), A, B)
        assert await events(a, 1) == [Connected(B)]
        network.leave(B)
        assert not a.send(B, b"gone")
        with pytest.raises(FetchFailed, match="B: not connected"):
            await fetched(a, Blobs(tmp_path), (B,), Wanted(digest_of(b""), 0, None))
        (b,) = joined(network, Blobs(tmp_path), B)
        assert a.send(B, b"welcome back")
        assert await events(a, 2) == [Disconnected(B), Connected(B)]
        assert await events(b, 2) == [Connected(A), Frame(A, b"welcome back")]

    play(scenario)


def test_latency_delays_each_frame_but_not_one_after_the_other(tmp_path: Path) -> None:
    async def scenario(tasks: anyio.abc.TaskGroup) -> None:
        network = Network(tasks, latency=3.0)
        a, b = joined(network, Blobs(tmp_path), A, B)
        assert await events(b, 1) == [Connected(A)]
        start = anyio.current_time()
        assert all(a.send(B, bytes([n])) for n in range(10))
        assert await events(b, 10) == [Frame(A, bytes([n])) for n in range(10)]
        assert anyio.current_time() - start == pytest.approx(3.0)

    play(scenario)


def test_the_same_seed_loses_the_same_frames(tmp_path: Path) -> None:
    def run(seed: int) -> list[Inbound]:
        got: list[Inbound] = []

        async def scenario(tasks: anyio.abc.TaskGroup) -> None:
            chance = random.Random(seed)
            network = Network(tasks, latency=0.01, is_lost=lambda *_: chance.random() < 0.5)
            a, b, c = joined(network, Blobs(tmp_path), A, B, C)
            for n in range(50):
                assert a.send(C, b"a%d" % n)
                assert b.send(C, b"b%d" % n)
            with anyio.move_on_after(10):
                while True:
                    got.extend(await events(c, 1))

        play(scenario)
        return got

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 20 < len(run(1)) < 80


def test_a_peer_whose_share_is_used_up_waits_alone() -> None:
    async def scenario(tasks: anyio.abc.TaskGroup) -> None:
        inbox = Inbox(share=2)
        for n in range(2):
            await inbox.put(Frame(A, b"a%d" % n))
        with anyio.move_on_after(60) as scope:
            await inbox.put(Frame(A, b"too much"))
        assert scope.cancelled_caught
        await inbox.put(Frame(B, b"b"))
        assert [await anext(inbox) for _ in range(3)] == [Frame(A, b"a0"), Frame(A, b"a1"), Frame(B, b"b")]
        await inbox.put(Frame(A, b"again"))
        assert await anext(inbox) == Frame(A, b"again")

    play(scenario)
