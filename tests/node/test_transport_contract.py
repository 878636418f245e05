"""What every transport must do, run over the in-memory network (asyncio and trio) and over libp2p."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from node.blobs import Blobs, Whole
from node.identity import identity_of
from node.net.control import Limits
from node.net.frames import BadFrame
from node.net.memory import Network
from node.net.transport import MAX_FRAME, Connected, Disconnected, FetchFailed, Frame, Transport
from node.net.wire.host import open_wire
from node.pieces import Wanted
from protocol.ids import Digest, PeerId, digest_of

MEMBERS = [identity_of(hashlib.sha256(f"member {n}".encode()).digest()) for n in range(4)]
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
EAGER = Limits(retry=0.02, retry_most=0.1)


@dataclass
class Node:
    transport: Transport
    blobs: Blobs

    @property
    def peer(self) -> PeerId:
        return self.transport.peer

    async def events(self, count: int) -> list[object]:
        inbound = self.transport.inbound()
        return [await anext(inbound) for _ in range(count)]

    async def frames(self, count: int) -> list[tuple[PeerId, bytes]]:
        events = await self.events(count)
        assert all(isinstance(event, Frame) for event in events), events
        return [(event.peer, event.body) for event in events]

    async def fetch(self, source: PeerId, digest: Digest, size: int, pieces: Digest | None = None) -> bytes:
        """Fetch from one source into our store. Raises FetchFailed, which says what the source is blamed for."""
        return await fetched(self.transport, self.blobs, (source,), Wanted(digest, size, pieces))


async def fetched(transport: Transport, blobs: Blobs, sources: tuple[PeerId, ...], wanted: Wanted) -> bytes:
    partial, causes = blobs.begin(wanted), []
    blobs.share(partial)
    try:
        await transport.fetch(partial, sources, lambda peer, cause: causes.append(f"{peer}: {cause}"))
    except FetchFailed as failed:
        raise FetchFailed("; ".join(causes)) from failed
    blobs.finish(partial)
    path = blobs.path_of(wanted.digest)
    assert path is not None
    return path.read_bytes()


class Careless(Whole):
    """A blob whose holder does not look at what it serves."""

    def read(self, index: int) -> bytes | None:
        return self.path.read_bytes()


@asynccontextmanager
async def memory_nodes(directory: Path, count: int) -> AsyncIterator[list[Node]]:
    async with anyio.create_task_group() as tasks:
        network = Network(tasks)
        shelves = [Blobs(directory / str(n)) for n in range(count)]
        yield [Node(network.join(MEMBERS[n].peer, shelves[n]), shelves[n]) for n in range(count)]
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def wire_nodes(directory: Path, count: int) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        addresses: dict[PeerId, str] = {}
        for n in range(count):
            blobs = Blobs(directory / str(n))
            opening = open_wire(MEMBERS[n].secret, ANYWHERE, addresses, blobs, EAGER)
            nodes.append(Node(await stack.enter_async_context(opening), blobs))
        addresses |= {node.peer: node.transport.address for node in nodes}
        yield nodes


NETWORKS = {
    "memory-asyncio": (memory_nodes, "asyncio"),
    "memory-trio": (memory_nodes, "trio"),
    "wire-trio": (wire_nodes, "trio"),
}
Scenario = Callable[[list[Node], Path], Awaitable[None]]


@pytest.fixture(params=NETWORKS)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int, Scenario], None]:
    """Run a scenario on so many nodes, of which the first are connected to each other: all, unless it says else."""
    open_nodes, backend = NETWORKS[request.param]

    async def main(count: int, scenario: Scenario, connected: int | None) -> None:
        with anyio.fail_after(30):
            async with open_nodes(tmp_path, count) as nodes:
                members = nodes[:connected]
                for node in members:
                    node.transport.admit(peers_of(members))
                for node in members:
                    others = {Connected(other.peer) for other in members if other is not node}
                    assert set(await node.events(len(others))) == others
                await scenario(nodes, tmp_path / "out")

    return lambda count, scenario, connected=None: anyio.run(
        partial(main, count, scenario, connected), backend=backend
    )


def peers_of(nodes: list[Node]) -> frozenset[PeerId]:
    return frozenset(node.peer for node in nodes)


async def assert_talk(one: Node, other: Node, out: Path) -> None:
    """Frames pass both ways, and so do blobs; no other event came before."""
    for sender, receiver in ((one, other), (other, one)):
        assert sender.transport.send(receiver.peer, b"hello")
        assert await receiver.frames(1) == [(sender.peer, b"hello")]
        data = sender.peer.encode()
        assert await receiver.fetch(sender.peer, sender.blobs.put(data), len(data)) == data


async def assert_strangers(one: Node, other: Node, out: Path) -> None:
    """Nothing passes, either way."""
    for asking, asked in ((one, other), (other, one)):
        assert not asking.transport.send(asked.peer, b"hello")
        with pytest.raises(FetchFailed, match=f"{asked.peer}: not connected"):
            await asking.fetch(asked.peer, asked.blobs.put(b"x"), 1)


def test_frames_arrive_in_order_both_ways(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        bodies = [bytes([n]) * (1 + 37 * n) for n in range(100)]
        for one, other in [nodes[:2], nodes[1::-1]]:
            assert all(one.transport.send(other.peer, body) for body in bodies)
            assert await other.frames(100) == [(one.peer, body) for body in bodies]

    play(2, scenario)


def test_frames_of_three_nodes_name_their_senders(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        for sender in nodes:
            for receiver in nodes:
                if sender is not receiver:
                    assert sender.transport.send(receiver.peer, sender.peer.encode())
        for receiver in nodes:
            expected = {(node.peer, node.peer.encode()) for node in nodes if node is not receiver}
            assert set(await receiver.frames(2)) == expected

    play(3, scenario)


def test_frames_of_every_allowed_size_and_no_other(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        for size in (1, 60 * 1024, MAX_FRAME):
            assert one.transport.send(other.peer, bytes(size))
            assert await other.frames(1) == [(one.peer, bytes(size))]
        for size in (0, MAX_FRAME + 1):
            with pytest.raises(BadFrame):
                one.transport.send(other.peer, bytes(size))
        assert one.transport.send(other.peer, b"still there")
        assert await other.frames(1) == [(one.peer, b"still there")]

    play(2, scenario)


def test_a_full_queue_says_no_and_loses_nothing_it_took(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        taken = [n for n in range(1_000) if one.transport.send(other.peer, n.to_bytes(2, "big"))]
        assert 100 <= len(taken) < 1_000
        assert all(late - early == 1 for early, late in pairwise(taken))
        assert [int.from_bytes(body, "big") for _, body in await other.frames(len(taken))] == taken

    play(2, scenario)


def test_nothing_is_sent_to_strangers(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        assert not nodes[0].transport.send(MEMBERS[3].peer, b"hello")
        with pytest.raises(FetchFailed, match=f"{MEMBERS[3].peer}: not connected"):
            await nodes[0].fetch(MEMBERS[3].peer, digest_of(b""), 0)

    play(2, scenario)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_blob_is_fetched_whole(play: Callable[[int, Scenario], None], size: int) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        data = hashlib.shake_128(b"weights").digest(size)
        digest = other.blobs.put(data)
        assert await one.fetch(other.peer, digest, size, other.blobs.pieces_of(digest)) == data

    play(2, scenario)


def test_both_sides_fetch_at_once_while_frames_pass(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        data = [hashlib.shake_128(bytes([n])).digest(2_000_000) for n in range(2)]
        digests = [one.blobs.put(data[0]), other.blobs.put(data[1])]
        pieces = [one.blobs.pieces_of(digests[0]), other.blobs.pieces_of(digests[1])]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.fetch, other.peer, digests[1], 2_000_000, pieces[1])
            tasks.start_soon(other.fetch, one.peer, digests[0], 2_000_000, pieces[0])
            assert one.transport.send(other.peer, b"meanwhile")
            assert await other.frames(1) == [(one.peer, b"meanwhile")]
        assert all(node.blobs.verify(digest) for node in (one, other) for digest in digests)

    play(2, scenario)


def test_a_blob_that_is_not_right_is_refused(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        digest = other.blobs.put(b"x" * 300_000)

        async def refused(wanted: Digest, size: int, cause: str) -> None:
            with pytest.raises(FetchFailed, match=f"^{other.peer}: {cause}"):
                await one.fetch(other.peer, wanted, size)
            assert not list((out.parent / "0").iterdir())

        await refused(digest_of(b"nobody has it"), 1, "does not have it")
        await refused(digest, 299_999, "offers 300000 bytes where 299999 are expected")
        await refused(digest, 300_001, "offers 300000 bytes where 300001 are expected")
        (path,) = [other.blobs.path_of(digest)]
        path.write_bytes(b"y" * 300_000)
        await refused(digest, 300_000, "does not have it")
        other.blobs._whole[digest] = Careless(path, other.blobs._whole[digest].pieces, (0, 0))
        await refused(digest, 300_000, "sent other bytes than the digest names")
        assert await one.fetch(other.peer, other.blobs.put(b"right"), 5) == b"right"

    play(2, scenario)


def test_a_dropped_peer_is_gone_for_both(play: Callable[[int, Scenario], None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other, third = nodes
        one.transport.drop(other.peer, "for a test")
        assert await one.events(1) == [Disconnected(other.peer)]
        assert await other.events(1) == [Disconnected(one.peer)]
        assert not one.transport.send(other.peer, b"hello")
        assert not other.transport.send(one.peer, b"hello")
        assert one.transport.send(third.peer, b"to the third")
        assert await third.frames(1) == [(one.peer, b"to the third")]

    play(3, scenario)


def test_a_newcomer_is_let_in_by_each_that_admits_it(play: Callable[..., None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other, newcomer = nodes
        newcomer.transport.admit(peers_of(nodes))
        await assert_talk(one, other, out)
        await assert_strangers(one, newcomer, out)
        one.transport.admit(peers_of(nodes))
        assert await one.events(1) == [Connected(newcomer.peer)]
        assert await newcomer.events(1) == [Connected(one.peer)]
        await assert_talk(one, newcomer, out)
        await assert_strangers(other, newcomer, out)
        other.transport.admit(peers_of(nodes))
        assert await other.events(1) == [Connected(newcomer.peer)]
        assert await newcomer.events(1) == [Connected(other.peer)]
        await assert_talk(other, newcomer, out)
        await assert_talk(one, other, out)

    play(3, scenario, 2)


def test_who_is_not_admitted_any_more_is_cut_off_and_nobody_else(play: Callable[..., None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other, third = nodes
        one.transport.admit(peers_of([one, third]))
        assert await one.events(1) == [Disconnected(other.peer)]
        assert await other.events(1) == [Disconnected(one.peer)]
        await assert_strangers(one, other, out)
        await assert_talk(one, third, out)
        await assert_talk(other, third, out)
        one.transport.admit(peers_of(nodes))
        assert await one.events(1) == [Connected(other.peer)]
        assert await other.events(1) == [Connected(one.peer)]
        await assert_talk(one, other, out)

    play(3, scenario)


def test_to_admit_the_same_peers_changes_nothing(play: Callable[..., None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other = nodes
        for _ in range(100):
            one.transport.admit(peers_of(nodes))
            other.transport.admit(peers_of([one]) | {other.peer})
        await assert_talk(one, other, out)

    play(2, scenario)


def test_who_was_dropped_is_not_let_in_by_being_admitted_anew(play: Callable[..., None]) -> None:
    async def scenario(nodes: list[Node], out: Path) -> None:
        one, other, third = nodes
        one.transport.drop(other.peer, "for a test")
        one.transport.admit(peers_of([third]))
        one.transport.admit(peers_of(nodes))
        assert await one.events(1) == [Disconnected(other.peer)]
        assert await other.events(1) == [Disconnected(one.peer)]
        await assert_talk(one, third, out)
        await assert_strangers(one, other, out)

    play(3, scenario)
