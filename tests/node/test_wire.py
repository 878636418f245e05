"""The libp2p transport against peers that restart, freeze, lie, flood or are nobody."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import trio
from libp2p import new_host
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from node.blobs import Blobs
from node.identity import identity_of
from node.net.control import Limits, Link
from node.net.exchange import Lost
from node.net.frames import KEEPALIVE, encoded
from node.net.mesh import CONTROL, Channel
from node.net.transport import MAX_FRAME, Connected, Disconnected, FetchFailed, Frame, Inbound
from node.net.wire.host import Wire, open_wire
from node.pieces import Wanted
from protocol.ids import Digest, PeerId, digest_of
from tests.node.test_transport_contract import fetched

ROOT = Path(__file__).parents[2]
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
# Sorted by peer id: the control stream that the earlier one opens has precedence.
FIRST, SECOND, THIRD = sorted(
    (identity_of(hashlib.sha256(f"wire {n}".encode()).digest()) for n in range(3)), key=lambda who: who.peer
)
FAST = Limits(ping=0.1, dial=5.0, retry=0.02, retry_most=0.1, refusal=600.0)
IMPATIENT = Limits(ping=0.1, silence=1.0, stall=1.0, refusal=600.0)


def play(scenario: Callable[..., Coroutine[None, None, None]], *args: object) -> None:
    async def main() -> None:
        with anyio.fail_after(30):
            await scenario(*args)

    trio.run(main)


async def events(wire: Wire, count: int) -> list[Inbound]:
    inbound = wire.inbound()
    return [await anext(inbound) for _ in range(count)]


@asynccontextmanager
async def pair(directory: Path, limits: Limits = FAST) -> AsyncIterator[tuple[Wire, Wire, Blobs]]:
    """FIRST and SECOND, connected; the blobs are SECOND's."""
    blobs = Blobs(directory / "second")
    addresses: dict[PeerId, str] = {}
    async with (
        open_wire(FIRST.secret, ANYWHERE, addresses, Blobs(directory / "first"), limits) as one,
        open_wire(SECOND.secret, ANYWHERE, addresses, blobs, limits) as other,
    ):
        addresses |= {one.peer: one.address, other.peer: other.address}
        one.admit(frozenset(addresses))
        other.admit(frozenset(addresses))
        assert await events(one, 1) == [Connected(other.peer)]
        assert await events(other, 1) == [Connected(one.peer)]
        yield one, other, blobs


async def assert_talks(one: Wire, other: Wire) -> None:
    assert one.send(other.peer, b"ping?")
    assert await events(other, 1) == [Frame(one.peer, b"ping?")]


async def opened_by_hand(by: Wire, to: Wire) -> Channel:
    """A control stream of a peer whose program is not ours."""
    await by._dialler.dial(to.peer, to.address)
    return await by._dialler.open(to.peer, CONTROL)


@asynccontextmanager
async def lone_member(directory: Path, limits: Limits = FAST) -> AsyncIterator[tuple[Wire, Channel]]:
    """SECOND, and a greeted control stream to it that FIRST opened by hand and uses as it likes."""
    async with (
        open_wire(SECOND.secret, ANYWHERE, {}, Blobs(directory), limits) as wire,
        open_wire(FIRST.secret, ANYWHERE, {}, Blobs(directory), limits) as member,
    ):
        # Neither knows an address, so neither dials.
        wire.admit(frozenset({member.peer}))
        member.admit(frozenset({wire.peer}))
        channel = await opened_by_hand(member, wire)
        await channel.write(KEEPALIVE)
        assert await events(wire, 1) == [Connected(FIRST.peer)]
        yield wire, channel


def test_closing_leaves_no_task_and_frees_the_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as (one, _, _):
            address = one.address
        left = [
            task
            for nursery in trio.lowlevel.current_root_task().child_nurseries
            for task in nursery.child_tasks
        ]
        assert {task.name for task in left} == {
            "<TrioToken.run_sync_soon task>",
            trio.lowlevel.current_task().name,
        }
        async with open_wire(FIRST.secret, address, {}, Blobs(tmp_path)) as again:
            assert again.address == address

    play(scenario)


@pytest.mark.parametrize("restarted", [FIRST, SECOND])
def test_a_peer_that_restarts_on_its_port_is_connected_again(tmp_path: Path, restarted: object) -> None:
    stays, goes = (SECOND, FIRST) if restarted is FIRST else (FIRST, SECOND)

    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with open_wire(stays.secret, ANYWHERE, known, Blobs(tmp_path), FAST) as wire:
            address = ANYWHERE
            for _ in range(3):
                async with open_wire(
                    goes.secret, address, {wire.peer: wire.address}, Blobs(tmp_path), FAST
                ) as other:
                    address = known[other.peer] = other.address
                    wire.admit(frozenset({other.peer}))
                    other.admit(frozenset({wire.peer}))
                    assert await events(wire, 1) == [Connected(other.peer)]
                    assert await events(other, 1) == [Connected(wire.peer)]
                    await assert_talks(wire, other)
                    await assert_talks(other, wire)
                assert await events(wire, 1) == [Disconnected(other.peer)]
                assert not wire.send(other.peer, b"gone")

    play(scenario)


CHILD = """
import sys, trio
from pathlib import Path
from node.blobs import Blobs
from node.net.control import Limits
from node.net.wire.host import open_wire
secret, listen, peer, address, directory = sys.argv[1:]
async def main():
    limits = Limits(ping=0.1, silence=10.0)
    opening = open_wire(bytes.fromhex(secret), listen, {peer: address}, Blobs(Path(directory)), limits)
    async with opening as wire:
        wire.admit(frozenset({peer}))
        sys.stdout.write(wire.address + "\\n")
        sys.stdout.flush()
        await trio.sleep_forever()
trio.run(main)
"""


def test_a_process_that_is_killed_or_frozen_is_noticed_and_found_again(tmp_path: Path) -> None:
    def spawn(listen: str, wire: Wire) -> subprocess.Popen[str]:
        arguments = [SECOND.secret.hex(), listen, wire.peer, wire.address, str(tmp_path / "child")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True, env=environment
        )

    async def scenario() -> None:
        limits = Limits(ping=0.1, silence=1.5, stall=1.0, dial=1.0, retry=0.02, retry_most=0.1)
        known: dict[PeerId, str] = {}
        async with open_wire(FIRST.secret, ANYWHERE, known, Blobs(tmp_path), limits) as wire:
            child = await anyio.to_thread.run_sync(spawn, ANYWHERE, wire)
            try:
                address = (await anyio.to_thread.run_sync(child.stdout.readline)).strip()
                known[SECOND.peer] = address
                wire.admit(frozenset(known))
                assert await events(wire, 1) == [Connected(SECOND.peer)]
                child.kill()
                child.wait()
                assert await events(wire, 1) == [Disconnected(SECOND.peer)]
                child = await anyio.to_thread.run_sync(spawn, address, wire)
                assert await events(wire, 1) == [Connected(SECOND.peer)]
                child.send_signal(signal.SIGSTOP)
                assert wire.send(SECOND.peer, bytes(60_000))
                assert await events(wire, 1) == [Disconnected(SECOND.peer)]
                child.send_signal(signal.SIGCONT)
                assert await events(wire, 1) == [Connected(SECOND.peer)]
            finally:
                child.kill()
                child.wait()
                child.stdout.close()

    play(scenario)


def test_an_outsider_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            pair(tmp_path) as (one, other, _),
            open_wire(THIRD.secret, ANYWHERE, {one.peer: one.address}, Blobs(tmp_path), FAST) as outsider,
        ):
            outsider.admit(frozenset({one.peer}))
            with pytest.raises(Lost):
                await Link(one.peer, await opened_by_hand(outsider, one), FAST, outsider.peer).greet()
            await assert_talks(other, one)
            assert not outsider.send(one.peer, b"hello")

    play(scenario)


def test_who_answers_at_an_address_must_be_the_peer_expected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            with pytest.raises(Lost):
                await one._dialler.dial(THIRD.peer, other.address)

    play(scenario)


def test_a_peer_without_encryption_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            keys = one._dialler._keys
            plain = new_host(key_pair=keys, sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(keys)})
            async with plain.run([]):
                target = PeerInfo(ID.from_string(other.peer), [Multiaddr(other.address)])
                with pytest.raises(Exception, match="unable to connect"):
                    await plain.connect(target)
            await assert_talks(one, other)

    play(scenario)


@pytest.mark.parametrize(
    "garbage", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(5_000), os.urandom(5_000), b"\xff" * 5_000]
)
def test_garbage_on_the_port_does_no_harm(tmp_path: Path, garbage: bytes) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            with socket.create_connection(("127.0.0.1", int(one.address.rsplit("/", 1)[1]))) as stranger:
                stranger.sendall(garbage)
                await assert_talks(one, other)
            await assert_talks(other, one)

    play(scenario)


def test_a_blob_source_that_raises_stops_nothing(tmp_path: Path) -> None:
    class Broken:
        async def held(self, digest: Digest) -> None:
            raise RuntimeError("a bug of ours")

    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            other.swarm.blobs = Broken()
            for _ in range(3):
                with pytest.raises(FetchFailed):
                    await fetched(
                        one, Blobs(tmp_path / "first"), (other.peer,), Wanted(digest_of(b"x"), 1, None)
                    )
            await assert_talks(one, other)
            await assert_talks(other, one)

    play(scenario)


def test_a_libp2p_host_that_dies_is_replaced(tmp_path: Path) -> None:
    async def boom(stream: object) -> None:
        raise RuntimeError("an exception that leaves a handler")

    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            for dying, asking in ((one, other), (other, one)):
                address = dying.address
                dying._dialler._host().set_stream_handler("/boom/1", boom)
                await asking._dialler.open(dying.peer, "/boom/1")
                for wire, peer in ((one, other.peer), (other, one.peer)):
                    assert await events(wire, 2) == [Disconnected(peer), Connected(peer)]
                assert dying.address == address
                await assert_talks(one, other)
                await assert_talks(other, one)

    play(scenario)


def test_a_frame_that_is_too_long_ends_in_refusal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lone_member(tmp_path) as (wire, channel):
            await channel.write((MAX_FRAME + 1).to_bytes(4, "big"))
            assert await events(wire, 1) == [Disconnected(FIRST.peer)]
            assert not wire.is_welcome(FIRST.peer)

    play(scenario)


def test_a_flood_ends_in_refusal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lone_member(tmp_path, Limits(frame_rate=100.0, share=64)) as (wire, channel):
            await channel.write(b"\0\0\0\1x" * 201)
            assert await events(wire, 1) == [Disconnected(FIRST.peer)]
            assert not wire.is_welcome(FIRST.peer)

    play(scenario)


def test_a_greeting_has_a_deadline_however_it_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            open_wire(SECOND.secret, ANYWHERE, {}, Blobs(tmp_path), Limits(dial=0.5)) as wire,
            open_wire(FIRST.secret, ANYWHERE, {}, Blobs(tmp_path), FAST) as member,
        ):
            wire.admit(frozenset({member.peer}))
            member.admit(frozenset({wire.peer}))
            channel = await opened_by_hand(member, wire)

            async def say_slowly() -> None:
                await channel.write(b"\0\1\0\0")  # a frame of 64 KiB, a byte at a time
                while True:
                    await channel.write(b"x")
                    await anyio.sleep(0.1)

            with pytest.raises(Lost):
                await say_slowly()

    play(scenario)


def test_what_a_refused_peer_had_sent_before_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with lone_member(tmp_path) as (wire, channel):
            await channel.write(b"".join(encoded(b"%d" % number) for number in range(50)))
            assert await events(wire, 2) == [Frame(FIRST.peer, b"0"), Frame(FIRST.peer, b"1")]
            wire.drop(FIRST.peer, "for a test")
            wire.drop(FIRST.peer, "for a test")
            assert await events(wire, 1) == [Disconnected(FIRST.peer)]
        assert len([record for record in caplog.records if "refusing" in record.message]) == 1

    play(scenario)


def test_a_silent_peer_is_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lone_member(tmp_path, IMPATIENT) as (wire, _):
            assert await events(wire, 1) == [Disconnected(FIRST.peer)]
            assert wire.is_welcome(FIRST.peer)

    play(scenario)


def test_a_peer_that_reads_nothing_is_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lone_member(tmp_path, IMPATIENT) as (wire, channel), anyio.create_task_group() as tasks:

            async def show_life() -> None:
                while True:
                    await channel.write(KEEPALIVE)
                    await anyio.sleep(0.1)

            tasks.start_soon(show_life)
            while wire.send(FIRST.peer, bytes(60_000)):
                pass
            assert await events(wire, 1) == [Disconnected(FIRST.peer)]
            tasks.cancel_scope.cancel()

    play(scenario)


def test_a_peer_that_is_not_admitted_any_more_is_disconnected_and_may_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path) as (one, other, _):
            for wire, peer in ((one, other.peer), (other, one.peer)):
                wire.admit(frozenset())
                assert await events(one, 1) == [Disconnected(other.peer)]
                assert await events(other, 1) == [Disconnected(one.peer)]
                wire.admit(frozenset({peer}))
                assert await events(one, 1) == [Connected(other.peer)]
                assert await events(other, 1) == [Connected(one.peer)]

    play(scenario)


def test_a_refusal_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path, Limits(retry=0.02, retry_most=0.05, refusal=0.2)) as (one, other, _):
            other.drop(one.peer, "for a test")
            assert await events(one, 2) == [Disconnected(other.peer), Connected(other.peer)]
            assert await events(other, 2) == [Disconnected(one.peer), Connected(one.peer)]

    play(scenario)


def test_a_fetch_that_is_cancelled_leaves_the_connection_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        # The other side may serve an abandoned stream for a moment longer: none of them must be one too many.
        async with pair(tmp_path, Limits(ping=0.1, blob_streams=13)) as (one, other, blobs):
            data = hashlib.shake_128(b"weights").digest(20_000_000)
            digest = blobs.put(data)
            wanted = Wanted(digest, len(data), blobs.pieces_of(digest))
            for n in range(12):
                mine = Blobs(tmp_path / str(n))
                with anyio.move_on_after(0.005 * n) as scope:
                    await fetched(one, mine, (other.peer,), wanted)
                assert (mine.path_of(digest) is None) is scope.cancelled_caught
            await assert_talks(one, other)
            assert await fetched(one, Blobs(tmp_path / "last"), (other.peer,), wanted) == data

    play(scenario)


def test_a_peer_serves_so_many_blobs_at_once_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pair(tmp_path, Limits(blob_streams=0)) as (one, other, blobs):
            with pytest.raises(FetchFailed):
                await fetched(one, Blobs(tmp_path / "first"), (other.peer,), Wanted(blobs.put(b"x"), 1, None))
            await assert_talks(one, other)

    play(scenario)


def test_a_write_given_up_in_the_middle_closes_the_connection(tmp_path: Path) -> None:
    async def sleep(stream: object) -> None:
        await trio.sleep_forever()

    async def scenario() -> None:
        limits = Limits(stall=1.0, silence=1_000.0)
        async with pair(tmp_path, limits) as (one, other, _):
            other._dialler._host().set_stream_handler("/sleep/1", sleep)
            channel = await one._dialler.open(other.peer, "/sleep/1")
            with pytest.raises(Lost, match="took nothing for 1 s"):
                await channel.write(bytes(20_000_000))
            assert await events(other, 2) == [Disconnected(one.peer), Connected(one.peer)]

    play(scenario)
