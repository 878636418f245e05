"""What a stranger, or a member that went bad, can do to a node below the control protocol: not much."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest
import trio
from libp2p.peer.id import ID

from node.blobs import Blobs
from node.identity import identity_of
from node.net.control import Limits
from node.net.exchange import Lost
from node.net.mesh import CONTROL
from node.net.transport import Connected
from node.net.wire.host import Wire, open_wire
from node.net.wire.muxer import FRAME_RATE, MAX_STREAMS, MAX_UNREAD
from protocol.ids import PeerId
from tests.fuzz.hostile import (
    ACK,
    DATA,
    MULTISTREAM,
    NOISE,
    PING,
    SYN,
    WINDOW,
    Door,
    data,
    is_let_in,
    line,
    muxed,
    opening,
    yamux,
)

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
NODE, FRIEND, BAD, NOBODY = (identity_of(hashlib.sha256(f"doorway {n}".encode()).digest()) for n in range(4))
LIMITS = Limits(ping=0.1, retry=0.02, retry_most=0.1, arrivals=1_000.0, knocks=1_000.0)


def play(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await scenario()

    trio.run(main)


@asynccontextmanager
async def house(directory: Path, limits: Limits = LIMITS) -> AsyncIterator[tuple[Wire, Wire, Door]]:
    """A node and its friend, connected; BAD is a member, too."""
    known: dict[PeerId, str] = {}
    async with (
        open_wire(NODE.secret, ANYWHERE, {}, Blobs(directory / "node"), limits) as node,
        open_wire(FRIEND.secret, ANYWHERE, known, Blobs(directory / "friend"), LIMITS) as friend,
    ):
        known[node.peer] = node.address
        node.admit(frozenset({FRIEND.peer, BAD.peer}))
        friend.admit(frozenset({NODE.peer}))
        assert await anext(node.inbound()) == Connected(FRIEND.peer)
        assert await anext(friend.inbound()) == Connected(NODE.peer)
        yield node, friend, Door(int(node.address.rsplit("/", 1)[1]), node.peer)
        assert node.send(FRIEND.peer, b"are you there?")
        assert await anext(friend.inbound()), "the friend has noticed nothing"


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await anyio.sleep(0.02)


def swarm_of(wire: Wire) -> object:
    return wire._dialler._running.get_network()


async def comes_in(door: Door) -> None:
    """A member gets in, if not at once: what it broke off a moment ago may still count."""
    while not await is_let_in(door, BAD.secret):
        await anyio.sleep(0.1)


def test_a_stranger_is_turned_away_before_it_can_open_a_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door):
            assert await is_let_in(door, BAD.secret)
            assert not await is_let_in(door, NOBODY.secret)
            node.drop(BAD.peer, "for a test")
            assert not await is_let_in(door, BAD.secret)

    play(scenario)


def test_strangers_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door):
            swarm = swarm_of(node)
            for _ in range(20):
                assert not await is_let_in(door, NOBODY.secret)
                await comes_in(door)
            await until(lambda: swarm._inbound_limiter.borrowed_tokens <= 1)
            await until(lambda: swarm._resource_manager._current_connections <= 1)
            await until(lambda: len(swarm.get_connections()) == 1)

    play(scenario)


def test_half_open_connections_lock_nobody_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = Limits(ping=0.1, half_open=20, handshake=30.0, knocks=1_000.0)
        async with house(tmp_path, limits) as (_, _, door), AsyncExitStack() as stack:
            crowd = []
            for number in range(100):
                knock = await stack.enter_async_context(await door.knock(2))
                if number % 3 == 0:
                    await knock.send_all(
                        (b"", line(MULTISTREAM), line(MULTISTREAM) + line(NOISE))[number % 9 // 3]
                    )
                crowd.append(knock)
            assert await is_let_in(door, BAD.secret, origin=3)
            # The oldest made room, and no more than those.
            for knock in crowd[:70]:
                with suppress(trio.BrokenResourceError):
                    while await knock.receive_some(100):
                        pass

    play(scenario)


def test_a_handshake_has_a_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            house(tmp_path, Limits(ping=0.1, handshake=0.3)) as (_, _, door),
            await door.knock() as knock,
        ):
            await knock.send_all(line(MULTISTREAM))
            with suppress(trio.BrokenResourceError):
                while await knock.receive_some(100):
                    pass

    play(scenario)


def test_an_origin_that_knocks_too_often_is_not_heard_and_others_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, Limits(ping=0.1, knocks=1.0)) as (_, _, door):
            for _ in range(20):
                with suppress(trio.BrokenResourceError):
                    async with await door.knock(2):
                        pass
            assert not await is_let_in(door, BAD.secret, origin=2)
            assert await is_let_in(door, BAD.secret, origin=3)

    play(scenario)


def test_a_member_that_comes_too_often_is_not_let_in_for_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, Limits(ping=0.1, arrivals=0.02)) as (_, _, door):
            assert [await is_let_in(door, BAD.secret) for _ in range(4)] == [True, True, True, False]

    play(scenario)


@pytest.mark.parametrize("stage", ["multistream", "noise"])
def test_a_stranger_may_say_little(tmp_path: Path, stage: str) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (_, _, door), await door.knock() as knock:
            # A line of 2^62 bytes, or handshake messages without end.
            begin = b"\xff\xff\xff\xff\xff\xff\xff\xff\x3f" if stage == "multistream" else b""
            if stage == "noise":
                begin = line(MULTISTREAM) + line(NOISE)
            sent = 0
            with suppress(trio.BrokenResourceError):
                await knock.send_all(begin)
                while True:
                    await knock.send_all(os.urandom(4096))
                    sent += 4096
            assert sent < 8 * 1024 * 1024, "what the kernel keeps for us, and no more"

    play(scenario)


def held(wire: Wire) -> int:
    """Bytes that a node keeps of what its peers have sent and it has not read."""
    return sum(
        len(buffer)
        for connection in swarm_of(wire).get_connections()
        for buffer in connection.muxed_conn.stream_buffers.values()
    )


async def is_closed_by(session: object, frames: AsyncIterator[bytes]) -> bool:
    """Whether the other side closes while frames are sent; what it sends meanwhile is read."""
    closed = False

    async def read(scope: trio.CancelScope) -> None:
        nonlocal closed
        await session.drain()
        closed = True
        scope.cancel()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(read, tasks.cancel_scope)
        with suppress(Exception):
            async for frame in frames:
                await session.write(frame)
        with trio.move_on_after(5):
            await trio.sleep_forever()
        tasks.cancel_scope.cancel()
    return closed


def test_who_ignores_windows_is_disconnected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door), muxed(door, BAD.secret) as session:
            most = 0

            async def flood() -> AsyncIterator[bytes]:
                nonlocal most
                for stream in (1, 3, 5):  # no line, so it is reset; libp2p keeps what comes after that
                    yield yamux(WINDOW, SYN, stream, 0) + data(stream, b"\2xx" + bytes(1_000))
                for number in range(2 * MAX_UNREAD // 65_536):
                    yield data((1, 3, 5)[number % 3], bytes(65_536))
                    most = max(most, held(node))

            assert await is_closed_by(session, flood())
            assert MAX_UNREAD // 2 < most <= MAX_UNREAD

    play(scenario)


def test_who_opens_streams_without_end_is_disconnected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door), muxed(door, BAD.secret) as session:

            async def streams() -> AsyncIterator[bytes]:
                for number in range(4 * MAX_STREAMS):
                    yield yamux(WINDOW, SYN, 2 * number + 1, 0)

            assert await is_closed_by(session, streams())
            await until(lambda: len(swarm_of(node).get_connections()) == 1)

    play(scenario)


@pytest.mark.parametrize(
    "frame",
    [
        yamux(DATA, SYN, 1, 2**32 - 1),
        yamux(DATA, 0, 1, 2**31),
        yamux(DATA, SYN, 1, 5 * 1024 * 1024),
        yamux(3, 0, 0, 2**32 - 1),
    ],
)
def test_absurd_frames_end_the_connection(tmp_path: Path, frame: bytes) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (_, _, door), muxed(door, BAD.secret) as session:
            await session.write(frame)
            await session.drain()

    play(scenario)


NAMES = [
    b"\xff\xfe\n", b"/ipfs/ping/1.0.0\n", b"/ipfs/id/push/1.0.0\n", b"ls\n", b"na\n", b"\n", b"no line", b"x" * 900,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_protocols_cost_their_stream_only(tmp_path: Path, name: bytes) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door), muxed(door, BAD.secret) as session:
            host = node._dialler._running
            length = (
                bytes([len(name) % 128 | 128, len(name) // 128]) if len(name) > 127 else bytes([len(name)])
            )
            for number in range(20):
                stream = 2 * number + 1
                await session.write(
                    yamux(WINDOW, SYN, stream, 0) + data(stream, line(MULTISTREAM) + (length + name) * 12)
                )
            await session.write(yamux(PING, SYN, 0, 77))
            seen = b""
            while yamux(PING, 2, 0, 77) not in seen:
                seen += await session.read()
            assert node._dialler._running is host, "libp2p's host has died of it"

    play(scenario)


def test_who_breaks_off_in_the_middle_of_anything_kills_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door):
            host = node._dialler._running
            for protocol in (b"/ipfs/id/1.0.0", CONTROL.encode(), b"/roundabout/blob/1"):
                for rest in (b"", b"\0", bytes(32)):
                    with suppress(Exception):
                        async with muxed(door, BAD.secret) as session:
                            await session.write(opening(1, protocol) + data(1, rest))
            await comes_in(door)
            assert node._dialler._running is host

    play(scenario)


def test_a_member_has_few_connections_at_a_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door), AsyncExitStack() as stack:
            for _ in range(12):
                await stack.enter_async_context(muxed(door, BAD.secret))
            await until(lambda: len(swarm_of(node).get_connections()) <= 5)

    play(scenario)


def test_small_frames_are_read_at_a_bounded_rate(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, friend, door), muxed(door, BAD.secret) as session:
            answered, began = 0, trio.current_time()

            async def count() -> None:
                nonlocal answered
                while await session.read(12):
                    answered += 1

            with trio.move_on_after(2), suppress(Exception):
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(count)
                    await session.write(yamux(PING, SYN, 0, 1) * 50_000)
            assert 100 < answered <= FRAME_RATE * (2 + trio.current_time() - began)
            # The rest of the flood still waits at the door while a friend is answered.
            assert node.send(FRIEND.peer, b"in between")
            assert await anext(friend.inbound())

    play(scenario)


def test_nobody_is_asked_to_identify_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as (node, _, door), muxed(door, BAD.secret) as session:
            for number in range(30):
                await session.write(yamux(PING, SYN, 0, 1_000 + number))
                while True:
                    frame = await session.read(12)
                    assert frame[1] == PING, "it has opened a stream"
                    if frame == yamux(PING, ACK, 0, 1_000 + number):
                        break
                await anyio.sleep(0.01)
            assert ID.from_string(BAD.peer) not in swarm_of(node).peerstore.peer_data_map

    play(scenario)


ANSWERS = {
    "nothing": b"",
    "an endless line": b"\xff\xff\xff\xff\x0f" + bytes(8 * 1024 * 1024),
    "endless lines": line(MULTISTREAM) + line(b"na\n") * 1_000_000,
    "noise without end": line(MULTISTREAM) + line(NOISE) + os.urandom(8 * 1024 * 1024),
    "a web page": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_whoever_listens_where_a_member_should_is_heard_for_a_moment_only(
    tmp_path: Path, answer: str
) -> None:
    async def scenario() -> None:
        taken = []

        async def serve(stream: trio.SocketStream) -> None:
            sent = 0
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for start in range(0, len(ANSWERS[answer]), 65_536):
                    await stream.send_all(ANSWERS[answer][start : start + 65_536])
                    sent += 65_536
                while await stream.receive_some(4_096):
                    pass
            taken.append(sent)

        async with trio.open_nursery() as tasks:
            (listener,) = await tasks.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            where = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
            async with house(tmp_path, Limits(ping=0.1, dial=1.0)) as (node, _, _):
                with pytest.raises(Lost):
                    await node._dialler.dial(BAD.peer, where)
                await until(lambda: bool(taken))
            tasks.cancel_scope.cancel()

    play(scenario)
