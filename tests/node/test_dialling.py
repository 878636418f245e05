"""Who dials whom on libp2p: either side that knows an address, and one control stream in the end."""

import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import trio

from node.blobs import Blobs
from node.identity import Identity, identity_of
from node.net.control import Limits, Link
from node.net.exchange import Lost
from node.net.mesh import CONTROL
from node.net.transport import Connected, Disconnected, Frame, Inbound
from node.net.wire.host import Wire, open_wire
from node.pieces import Wanted
from protocol.ids import PeerId
from tests.node.test_transport_contract import fetched

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
SMALL, MIDDLE, LARGE = sorted(
    (identity_of(hashlib.sha256(f"dialling {n}".encode()).digest()) for n in range(3)),
    key=lambda who: who.peer,
)
ALL = frozenset({SMALL.peer, MIDDLE.peer, LARGE.peer})
FAST = Limits(ping=0.1, dial=5.0, retry=0.02, retry_most=0.1, refusal=600.0)
AT_ONCE = Limits(ping=0.1, dial=5.0, retry=0.001, retry_most=0.05, refusal=600.0)


def play(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await scenario()

    trio.run(main)


async def events(wire: Wire, count: int) -> list[Inbound]:
    inbound = wire.inbound()
    return [await anext(inbound) for _ in range(count)]


@asynccontextmanager
async def opened(
    who: Identity, known: Mapping[PeerId, str], directory: Path, limits: Limits = FAST
) -> AsyncIterator[Wire]:
    async with open_wire(who.secret, ANYWHERE, known, Blobs(directory / who.peer), limits) as wire:
        yield wire


async def assert_talk(one: Wire, other: Wire, out: Path) -> None:
    """Frames pass both ways, and so do blobs; no other event came before."""
    for sender, receiver in ((one, other), (other, one)):
        assert sender.send(receiver.peer, b"hello")
        assert await events(receiver, 1) == [Frame(sender.peer, b"hello")]
        data = sender.peer.encode()
        blobs = sender.swarm.blobs
        assert isinstance(blobs, Blobs)
        wanted = Wanted(blobs.put(data), len(data), None)
        assert await fetched(receiver, Blobs(out / receiver.peer), (sender.peer,), wanted) == data


async def greeted(by: Wire, to: Wire) -> None:
    """Open a control stream on the connection there is, and see whether it is accepted. Raises Lost."""
    channel = await by._dialler.open(to.peer, CONTROL)
    await Link(to.peer, channel, FAST, by.peer).greet()


async def dialled_and_greeted(by: Wire, to: Wire) -> None:
    """As `greeted`, on a fresh connection."""
    await by._dialler.dial(to.peer, to.address)
    await greeted(by, to)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await anyio.sleep(0.01)


def connections(wire: Wire) -> int:
    return len(wire._dialler._host().get_network().get_connections())


@pytest.mark.parametrize("knowing", [SMALL, LARGE])
def test_one_address_known_to_either_is_enough(tmp_path: Path, knowing: Identity) -> None:
    waiting = LARGE if knowing is SMALL else SMALL

    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with opened(waiting, {}, tmp_path) as found, opened(knowing, known, tmp_path) as finder:
            known[found.peer] = found.address
            finder.admit(ALL)
            found.admit(ALL)
            for _ in range(3):
                assert await events(found, 1) == [Connected(finder.peer)]
                assert await events(finder, 1) == [Connected(found.peer)]
                await assert_talk(found, finder, tmp_path / "out")
                await found._dialler.hang_up(finder.peer)
                assert await events(found, 1) == [Disconnected(finder.peer)]
                assert await events(finder, 1) == [Disconnected(found.peer)]

    play(scenario)


@pytest.mark.parametrize("late", [SMALL, MIDDLE, LARGE])
def test_a_member_that_joins_later_finds_those_that_do_not_know_it(tmp_path: Path, late: Identity) -> None:
    early = [who for who in (SMALL, MIDDLE, LARGE) if who is not late]

    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with opened(early[0], known, tmp_path) as one, opened(early[1], known, tmp_path) as other:
            known |= {one.peer: one.address, other.peer: other.address}
            one.admit(frozenset(known))
            other.admit(frozenset(known))
            assert await events(one, 1) == [Connected(other.peer)]
            assert await events(other, 1) == [Connected(one.peer)]
            async with opened(late, dict(known), tmp_path) as newcomer:
                newcomer.admit(ALL)
                with pytest.raises(Lost):
                    await dialled_and_greeted(newcomer, one)
                await assert_talk(one, other, tmp_path / "out")
                one.admit(ALL)
                other.admit(ALL)
                assert set(await events(newcomer, 2)) == {Connected(one.peer), Connected(other.peer)}
                assert await events(one, 1) == [Connected(newcomer.peer)]
                assert await events(other, 1) == [Connected(newcomer.peer)]
                await assert_talk(newcomer, one, tmp_path / "out")
                await assert_talk(newcomer, other, tmp_path / "out")
            assert await events(one, 1) == [Disconnected(newcomer.peer)]
            assert await events(other, 1) == [Disconnected(newcomer.peer)]
            await assert_talk(one, other, tmp_path / "out")

    play(scenario)


def test_two_that_dial_at_once_end_with_one_stream_and_one_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with (
            opened(SMALL, known, tmp_path, AT_ONCE) as small,
            opened(LARGE, known, tmp_path, AT_ONCE) as large,
        ):
            known |= {small.peer: small.address, large.peer: large.address}
            for _ in range(15):
                small.admit(ALL)
                large.admit(ALL)
                assert await events(small, 1) == [Connected(large.peer)]
                await until(lambda: large.peer in small._links and small.peer in large._links)
                await until(lambda: connections(small) == connections(large) == 1)
                assert small._links[large.peer].opener == large._links[small.peer].opener
                small.admit(frozenset())
                large.admit(frozenset())
                assert await events(small, 1) == [Disconnected(large.peer)]
                await until(lambda: not large._links and not connections(small) and not connections(large))

    play(scenario)


def test_the_stream_of_the_smaller_peer_id_has_precedence(tmp_path: Path) -> None:
    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with opened(SMALL, known, tmp_path) as small, opened(LARGE, {}, tmp_path) as large:
            known[large.peer] = large.address
            small.admit(ALL)
            large.admit(ALL)
            assert await events(small, 1) == [Connected(large.peer)]
            assert await events(large, 1) == [Connected(small.peer)]
            with pytest.raises(Lost):
                await greeted(large, small)
            await assert_talk(small, large, tmp_path / "out")

            # The other way round it is the older stream that goes.
            await greeted(small, large)
            assert await events(large, 2) == [Disconnected(small.peer), Connected(small.peer)]

    play(scenario)


def test_an_address_where_nobody_answers_does_not_keep_the_other_side_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            nowhere = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}"
            async with opened(SMALL, {LARGE.peer: nowhere}, tmp_path) as small:
                small.admit(ALL)
                async with opened(LARGE, {small.peer: small.address}, tmp_path) as large:
                    large.admit(ALL)
                    assert await events(small, 1) == [Connected(large.peer)]
                    assert await events(large, 1) == [Connected(small.peer)]
                    await assert_talk(small, large, tmp_path / "out")

    play(scenario)
