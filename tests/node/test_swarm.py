"""Blobs over real hosts: several sources, liars, sources that go, restarts, and hosts that are not ours."""

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_keys
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as PlainNoise
from multiaddr import Multiaddr

from node.blobs import Blobs, Whole
from node.net.control import Limits
from node.net.exchange import ANSWER, REQUEST, REQUESTS, Desk, Kind, Lost
from node.net.swarm import BLOB
from node.net.transport import FetchFailed, Held
from node.net.wire.host import open_wire
from node.partial import Partial
from node.pieces import Wanted
from protocol.ids import Digest, PeerId, digest_of, unbase64url
from protocol.messages import PIECE_BYTES
from tests.node.test_transport_contract import ANYWHERE, MEMBERS, Node, fetched, peers_of, wire_nodes

DATA = hashlib.shake_128(b"weights").digest(5 * PIECE_BYTES + 77)


def play(scenario: Callable[..., Coroutine[None, None, None]], *args: object) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await scenario(*args)

    trio.run(main)


async def connected(nodes: list[Node]) -> None:
    for node in nodes:
        node.transport.admit(peers_of(nodes))
    for node in nodes:
        await node.events(len(nodes) - 1)


def wanted_of(blobs: Blobs, data: bytes = DATA) -> Wanted:
    digest = blobs.put(data)
    return Wanted(digest, len(data), blobs.pieces_of(digest))


@dataclass
class Told:
    """Who was blamed for what."""

    causes: list[tuple[PeerId, str]] = field(default_factory=list)

    def __call__(self, peer: PeerId, cause: str) -> None:
        self.causes.append((peer, cause))


@dataclass
class Bent:
    """A shelf that hands out what a function makes of each piece."""

    blobs: Blobs
    bend: Callable[[int, bytes], bytes]

    async def held(self, digest: Digest) -> Held | None:
        found = await self.blobs.held(digest)
        return None if found is None else BentBlob(found, self.bend)

    async def grown(self) -> None:
        await self.blobs.grown()


@dataclass
class BentBlob:
    real: Whole | Partial
    bend: Callable[[int, bytes], bytes]

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def read(self, index: int) -> bytes:
        data = self.real.read(index)
        assert data is not None
        return self.bend(index, data)


def test_a_large_blob_comes_from_several_sources_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 4) as nodes:
            await connected(nodes)
            wanted = wanted_of(nodes[0].blobs)
            sources = [node.peer for node in nodes]
            async with anyio.create_task_group() as tasks:
                for node in nodes[1:]:
                    others = tuple(source for source in sources if source != node.peer)
                    tasks.start_soon(fetched, node.transport, node.blobs, others, wanted)
            assert all(node.blobs.verify(wanted.digest) for node in nodes)
            # How little the first one sends depends on the time all take: see test_schedule, and bench/blobs.py.
            assert sum(contact.sent for contact in nodes[0].transport.contacts()) >= len(DATA)
            for node in nodes[1:]:
                assert sum(contact.received for contact in node.transport.contacts()) >= len(DATA)

    play(scenario)


def test_who_lies_is_told_apart_and_not_asked_again(tmp_path: Path) -> None:
    served = []

    def lie(index: int, data: bytes) -> bytes:
        served.append(index)
        return bytes(len(data))

    async def scenario() -> None:
        async with wire_nodes(tmp_path, 3) as nodes:
            await connected(nodes)
            honest, liar, fetcher = nodes
            wanted = wanted_of(honest.blobs)
            assert wanted_of(liar.blobs) == wanted
            liar.transport.swarm.blobs = Bent(liar.blobs, lie)  # type: ignore[attr-defined]
            partial, told = fetcher.blobs.begin(wanted), Told()
            fetcher.blobs.share(partial)
            await fetcher.transport.fetch(partial, (liar.peer, honest.peer), told)
            fetcher.blobs.finish(partial)
            assert told.causes[0] == (liar.peer, "sent other bytes than the digest names")
            assert {peer for peer, _ in told.causes} == {liar.peer}
            assert partial.liars == {liar.peer}
            assert len(served) <= 4

    play(scenario)


def test_a_source_that_goes_in_the_middle_leaves_what_it_gave(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 3) as nodes:
            await connected(nodes)
            goes, stays, fetcher = nodes
            wanted = wanted_of(goes.blobs)
            served: list[int] = []

            def go(index: int, data: bytes) -> bytes:
                served.append(index)
                if len(served) > 2:
                    raise RuntimeError("as if it had been killed")
                return data

            goes.transport.swarm.blobs = Bent(goes.blobs, go)  # type: ignore[attr-defined]
            partial, told = fetcher.blobs.begin(wanted), Told()
            with pytest.raises(FetchFailed, match="nobody is left to ask"):
                await fetcher.transport.fetch(partial, (goes.peer,), told)
            assert {peer for peer, _ in told.causes} == {goes.peer}
            assert partial.have == 2
            # A restart: what was there is not asked for again.
            again = Blobs(tmp_path / "2").begin(wanted)
            assert again.have == 2
            assert wanted_of(stays.blobs) == wanted
            await fetcher.transport.fetch(again, (stays.peer,), told)
            assert again.is_complete
            assert again.finish().read_bytes() == DATA
            (contact,) = [c for c in fetcher.transport.contacts() if c.peer == stays.peer]
            assert contact.received < len(DATA) - PIECE_BYTES

    play(scenario)


def test_pieces_are_served_while_others_are_still_to_come(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 3) as nodes:
            origin, middle, last = nodes
            origin.transport.admit(peers_of([origin, middle]))
            middle.transport.admit(peers_of(nodes))
            last.transport.admit(peers_of([middle, last]))
            await middle.events(2)
            wanted = wanted_of(origin.blobs)
            partial = middle.blobs.begin(wanted)
            middle.blobs.share(partial)
            gate, begun = trio.Event(), trio.Event()

            async def pass_on() -> None:
                listed = await origin.blobs.held(wanted.digest)
                assert listed is not None
                assert listed.pieces is not None
                partial.learn(listed.pieces.listed)
                assert partial.write(4, listed.read(4) or b"")
                partial.mark(4)
                begun.set()
                await gate.wait()
                await middle.transport.fetch(partial, (origin.peer,), Told())
                middle.blobs.finish(partial)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pass_on)
                await begun.wait()
                target = last.blobs.begin(wanted)
                tasks.start_soon(last.transport.fetch, target, (middle.peer,), Told())
                while not target.have:
                    await anyio.sleep(0.01)
                assert target.missing() == {0, 1, 2, 3, 5}
                assert not partial.is_complete
                gate.set()
            assert target.is_complete
            assert target.finish().read_bytes() == DATA

    play(scenario)


@pytest.mark.parametrize("fault", ["another list", "a longer list", "no list"])
def test_a_source_that_tells_no_right_list_is_passed_over(tmp_path: Path, fault: str) -> None:
    class Shelf:
        async def held(self, digest: Digest) -> Held | None:
            other = await nodes[0].blobs.held(digest_of(DATA[: 4 * PIECE_BYTES]))
            return None if fault == "no list" else other

        async def grown(self) -> None:
            await anyio.sleep_forever()

    nodes: list[Node] = []

    async def scenario() -> None:
        async with wire_nodes(tmp_path, 3) as made:
            nodes.extend(made)
            await connected(nodes)
            wrong, right, fetcher = nodes
            size = 4 if fault == "another list" else 3
            wrong.blobs.put(DATA[: 4 * PIECE_BYTES])
            wanted = wanted_of(right.blobs, DATA[PIECE_BYTES : (size + 1) * PIECE_BYTES])
            wrong.transport.swarm.blobs = Shelf()  # type: ignore[attr-defined]
            partial, told = fetcher.blobs.begin(wanted), Told()
            await fetcher.transport.fetch(partial, (wrong.peer, right.peer), told)
            assert partial.is_complete
            assert {peer for peer, _ in told.causes} == (set() if fault == "no list" else {wrong.peer})

    play(scenario)


# ---- what a hostile peer may ask, and hosts that are not ours ----


class PlainStream:
    """A stream of an unmodified libp2p host, as our own code sees streams."""

    def __init__(self, stream) -> None:  # type: ignore[no-untyped-def]
        self._stream = stream

    async def read(self, limit: int, within: float) -> bytes:
        with anyio.move_on_after(within):
            try:
                return await self._stream.read(limit)  # type: ignore[no-any-return]
            except StreamEOF:
                return b""
            except StreamReset as reset:
                raise Lost("reset") from reset
        raise Lost("too slow")

    async def write(self, data: bytes | memoryview) -> None:
        await self._stream.write(bytes(data))


async def exactly(stream: PlainStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.read(size - len(data), 20.0)
        if not part:
            raise Lost("ended")
        data += part
    return data


def plain_host(secret: bytes):  # type: ignore[no-untyped-def]
    keys = create_new_key_pair(secret)
    noise = PlainNoise(keys, noise_privkey=create_noise_keys().private_key)
    return new_host(key_pair=keys, sec_opt={NOISE: noise}, listen_addrs=[Multiaddr(ANYWHERE)])


def test_an_unmodified_host_gets_blobs_from_us_and_we_from_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours, theirs = Blobs(tmp_path / "ours"), Blobs(tmp_path / "theirs")
        first, second = wanted_of(ours), wanted_of(theirs, DATA[::-1])
        host, other = plain_host(MEMBERS[1].secret), MEMBERS[1].peer

        async def serve(stream) -> None:  # type: ignore[no-untyped-def]
            await Desk(PlainStream(stream), theirs, 10.0).serve()

        async with open_wire(MEMBERS[0].secret, ANYWHERE, {}, ours) as wire, host.run([Multiaddr(ANYWHERE)]):
            host.set_stream_handler(TProtocol(BLOB), serve)
            wire.admit(frozenset({other}))
            await host.connect(PeerInfo(ID.from_string(wire.peer), [Multiaddr(wire.address)]))
            raw = await host.new_stream(ID.from_string(wire.peer), [TProtocol(BLOB)])
            stream, got = PlainStream(raw), b""
            for index in range(first.count):
                await stream.write(REQUEST.pack(Kind.PIECE, unbase64url(first.digest, 32), index))
                status, length = ANSWER.unpack(await exactly(stream, ANSWER.size))
                assert status == 0
                got += await exactly(stream, length)
            assert got == DATA
            partial = ours.begin(second)
            await wire.swarm.fetch(partial, (other,), Told())
            assert partial.finish().read_bytes() == DATA[::-1]

    play(scenario)


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (REQUEST.pack(Kind.PIECE, bytes(32), 0), ANSWER.pack(1, 0)),
        (REQUEST.pack(Kind.LIST, bytes(32), 0), ANSWER.pack(1, 0)),
        (REQUEST.pack(Kind.PIECE, hashlib.sha256(b"small").digest(), 1), ANSWER.pack(1, 0)),
        (REQUEST.pack(Kind.PIECE, hashlib.sha256(b"small").digest(), 2**32 - 1), ANSWER.pack(1, 0)),
        (REQUEST.pack(Kind.HAVE, hashlib.sha256(b"small").digest(), 0), ANSWER.pack(0, 1) + b"\xff"),
        (REQUEST.pack(9, hashlib.sha256(b"small").digest(), 0), None),
        (REQUEST.pack(Kind.HAVE, bytes(32), 0) * (2 * REQUESTS), None),
    ],
)
def test_a_strange_question_is_refused_or_costs_the_stream(
    tmp_path: Path, request_bytes: bytes, answer: bytes | None
) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 2) as nodes:
            await connected(nodes)
            one, other = nodes
            other.blobs.put(b"small")
            channel = await one.transport._dialler.open(other.peer, BLOB)  # type: ignore[attr-defined]
            await channel.write(request_bytes)
            if answer is None:
                with pytest.raises(Lost):
                    await exactly(channel, 1_000_000)
            else:
                assert await exactly(channel, len(answer)) == answer
            assert await one.fetch(other.peer, other.blobs.put(b"fine"), 4) == b"fine"

    play(scenario)


@pytest.mark.parametrize("answer", [ANSWER.pack(0, 2**32 - 1), ANSWER.pack(7, 5), ANSWER.pack(1, 5), b""])
def test_an_answer_that_is_none_is_refused_before_it_is_read(tmp_path: Path, answer: bytes) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 2) as nodes:
            await connected(nodes)
            one, other = nodes

            async def serve(channel) -> None:  # type: ignore[no-untyped-def]
                await channel.read(100, 20.0)
                await channel.write(answer)
                if not answer:
                    await channel.finish()

            other.transport.swarm.serve = serve  # type: ignore[attr-defined]
            with pytest.raises(FetchFailed, match=r"expected|unknown status|ended"):
                await one.fetch(other.peer, digest_of(b"wanted"), 6)

    play(scenario)


async def one_too_many(one: Node, other: Node, question: bytes) -> None:
    extra = await one.transport._dialler.open(other.peer, BLOB)  # type: ignore[attr-defined]
    await extra.write(question)
    await exactly(extra, ANSWER.size)


def test_so_many_streams_are_served_to_one_peer_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wire_nodes(tmp_path, 2) as nodes:
            await connected(nodes)
            one, other = nodes
            question = REQUEST.pack(Kind.PIECE, bytes(32), 0)
            channels = []
            for _ in range(Limits().blob_streams):
                channels.append(await one.transport._dialler.open(other.peer, BLOB))  # type: ignore[attr-defined]
                await channels[-1].write(question)
                assert await exactly(channels[-1], ANSWER.size) == ANSWER.pack(1, 0)
            with pytest.raises(Lost):
                await one_too_many(one, other, question)

    play(scenario)
