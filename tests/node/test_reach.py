"""Members find each other on libp2p: several addresses, wrong ones, new ones, from several sources."""

import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing

from node.blobs import Blobs
from node.identity import Identity, identity_of
from node.net.addresses import AddressBook, Finder, Found, own_scopes
from node.net.control import Limits
from node.net.dialling import Addresses
from node.net.remembered import Remembered
from node.net.transport import Connected, Contact, Disconnected, Frame, Inbound
from node.net.wire.host import Wire, open_wire
from protocol.ids import PeerId

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
SMALL, MIDDLE, LARGE = sorted(
    (identity_of(hashlib.sha256(f"reach {n}".encode()).digest()) for n in range(3)), key=lambda who: who.peer
)
ALL = frozenset({SMALL.peer, MIDDLE.peer, LARGE.peer})
FAST = Limits(ping=0.1, dial=5.0, retry=0.02, retry_most=0.1, dial_rate=50.0, refusal=600.0)
SLOW = Limits(ping=0.1, dial=5.0, retry=1e6, retry_soon=1e6, retry_most=1e6)
"""A node that never dials again unless there is news. The first one may wait for as long."""
PATIENT = Limits(ping=0.1, dial=600.0, retry=0.02, retry_most=0.1, dial_rate=50.0)


def play(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await scenario()

    trio.run(main)


@asynccontextmanager
async def opened(
    who: Identity,
    known: Addresses,
    directory: Path,
    limits: Limits = FAST,
    book: AddressBook | None = None,
    finders: tuple[Finder, ...] = (),
) -> AsyncIterator[Wire]:
    blobs = Blobs(directory / who.peer)
    async with open_wire(who.secret, ANYWHERE, known, blobs, limits, book, finders) as wire:
        yield wire


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody will while this is open."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}"


@contextmanager
def silence() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}"


async def events(wire: Wire, count: int) -> list[Inbound]:
    inbound = wire.inbound()
    return [await anext(inbound) for _ in range(count)]


async def assert_meet(one: Wire, other: Wire) -> None:
    """The next event on both sides is that they are connected; then frames pass."""
    assert await events(one, 1) == [Connected(other.peer)]
    assert await events(other, 1) == [Connected(one.peer)]
    for sender, receiver in ((one, other), (other, one)):
        assert sender.send(receiver.peer, b"hello")
        assert await events(receiver, 1) == [Frame(sender.peer, b"hello")]


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await anyio.sleep(0.01)


def connections(wire: Wire) -> int:
    return len(wire._dialler._host().get_network().get_connections())


def contact(wire: Wire, peer: PeerId) -> Contact:
    (found,) = [each for each in wire.contacts() if each.peer == peer]
    return found


def test_an_address_that_comes_after_the_admission_is_dialled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(SMALL, {}, tmp_path, SLOW) as one, opened(LARGE, {}, tmp_path, SLOW) as other:
            one.admit(ALL)
            other.admit(ALL)
            assert contact(one, other.peer).address is None
            one.locate({other.peer: (other.address,), one.peer: (other.address,)})
            await assert_meet(one, other)
            assert contact(one, other.peer).address == other.address

    play(scenario)


def test_a_member_that_moves_is_found_where_it_says_it_is(tmp_path: Path) -> None:
    """Only the topic knows; the one that stays would not dial again for days by itself."""

    async def scenario() -> None:
        async with opened(
            LARGE, {}, tmp_path, Limits(ping=0.1, retry=0.02, retry_soon=1e6, retry_most=1e6)
        ) as stays:
            stays.admit(ALL)
            for _ in range(3):
                async with opened(SMALL, {}, tmp_path) as moved:
                    moved.admit(ALL)
                    stays.locate({moved.peer: (moved.address,)})
                    await assert_meet(stays, moved)
                assert await events(stays, 1) == [Disconnected(moved.peer)]

    play(scenario)


def test_a_peer_that_comes_back_after_long_is_connected_by_either_side(tmp_path: Path) -> None:
    """The others' pauses have grown; that it dials one of them is enough, and where it was is remembered."""

    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        with Remembered.open(tmp_path / "addresses.db") as memory:
            async with opened(LARGE, {}, tmp_path, SLOW) as stays:
                stays.admit(ALL)
                known[stays.peer] = stays.address
                book = AddressBook(memory=memory)
                async with opened(SMALL, known, tmp_path, book=book) as goes:
                    goes.admit(ALL)
                    await assert_meet(stays, goes)
                assert await events(stays, 1) == [Disconnected(goes.peer)]
                book = AddressBook(memory=memory)
                async with opened(SMALL, {}, tmp_path, book=book) as back:
                    back.admit(ALL)
                    await assert_meet(stays, back)

    play(scenario)


def test_who_dials_us_is_dialled_without_delay_once_it_is_lost_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        growing = Limits(ping=0.1, dial=5.0, retry=0.01, retry_soon=1e6, retry_most=1e6, dial_rate=50.0)
        with nobody() as closed:
            async with opened(LARGE, {SMALL.peer: closed}, tmp_path, growing) as stays:
                stays.admit(ALL)
                pace = stays._dialling._paces[SMALL.peer]
                await until(lambda: pace._tries > 5)
                async with opened(SMALL, {stays.peer: stays.address}, tmp_path) as goes:
                    goes.admit(ALL)
                    await assert_meet(stays, goes)
                    await until(lambda: pace._tries <= 1)

    play(scenario)


def test_one_good_address_among_bad_ones_is_enough(tmp_path: Path) -> None:
    """Of nobody, of a silent host, and of another peer."""

    async def scenario() -> None:
        limits = Limits(ping=0.1, dial=0.3, retry=0.02, retry_most=0.1, dial_rate=50.0)
        with nobody() as closed, silence() as silent:
            async with opened(MIDDLE, {}, tmp_path) as another, opened(LARGE, {}, tmp_path) as wanted:
                another.admit(frozenset({SMALL.peer}))
                wanted.admit(frozenset({SMALL.peer}))
                bad = (closed, silent, another.address)
                known: Addresses = {wanted.peer: (*bad, wanted.address), another.peer: another.address}
                async with opened(SMALL, known, tmp_path, limits) as one:
                    one.admit(ALL)
                    met = {event.peer for event in await events(one, 2) if isinstance(event, Connected)}
                    assert met == {another.peer, wanted.peer}
                    assert contact(one, wanted.peer).address == wanted.address
                    assert [known.failures for known in one._dialling.book.known(wanted.peer)] == [0, 1, 1, 1]
                    await until(
                        lambda: connections(one) == 2 and connections(wanted) == connections(another) == 1
                    )

    play(scenario)


def test_a_dial_knocks_once(tmp_path: Path) -> None:
    """Libp2p by itself would knock four times, at somebody else's door perhaps."""

    async def scenario() -> None:
        knocks = 0

        async def refuse(stream: trio.SocketStream) -> None:
            nonlocal knocks
            knocks += 1
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            (door,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
            known = {LARGE.peer: f"/ip4/127.0.0.1/tcp/{door.socket.getsockname()[1]}"}
            async with opened(SMALL, known, tmp_path, SLOW) as one:
                one.admit(ALL)
                await until(lambda: one._dialling.book.known(LARGE.peer)[0].failures)
            nursery.cancel_scope.cancel()
        assert knocks == 1

    play(scenario)


def test_peers_that_do_not_answer_delay_nobody(tmp_path: Path) -> None:
    """More of them than libp2p dials at once."""

    async def scenario() -> None:
        with silence() as silent:
            known: dict[PeerId, str] = {
                identity_of(hashlib.sha256(f"silent {n}".encode()).digest()).peer: silent for n in range(60)
            }
            async with opened(LARGE, {}, tmp_path) as other:
                other.admit(ALL)
                async with opened(SMALL, known, tmp_path, PATIENT) as one:
                    one.admit(frozenset(known))
                    await until(
                        lambda: one._dialler._host().get_network()._global_dial_limiter.borrowed_tokens > 40
                    )
                    known[other.peer] = other.address
                    one.admit(frozenset(known))
                    await assert_meet(one, other)

    play(scenario)


def test_both_dial_at_once_with_several_addresses(tmp_path: Path) -> None:
    async def scenario() -> None:
        eager = Limits(ping=0.1, dial=5.0, retry=0.001, retry_most=0.05, dial_rate=100.0)
        with nobody() as closed:
            known: dict[PeerId, tuple[str, ...]] = {}
            async with (
                opened(SMALL, known, tmp_path, eager) as one,
                opened(LARGE, known, tmp_path, eager) as other,
            ):
                for wire in (one, other):
                    by_name = wire.address.replace("/ip4/127.0.0.1/", "/dns4/localhost/")
                    known[wire.peer] = (closed, by_name, wire.address)
                for _ in range(10):
                    one.admit(ALL)
                    other.admit(ALL)
                    await until(lambda: other.peer in one._links and one.peer in other._links)
                    await until(lambda: connections(one) == connections(other) == 1)
                    assert one._links[other.peer].opener == other._links[one.peer].opener
                    one.admit(frozenset())
                    other.admit(frozenset())
                    await until(lambda: not one._links and not other._links and not connections(one))

    play(scenario)


def test_an_announced_loopback_is_not_dialled_by_who_listens_elsewhere(tmp_path: Path) -> None:
    """Neither as it is, nor behind a name."""

    async def scenario() -> None:
        abroad = AddressBook(own_scopes(["/ip4/93.184.216.34/tcp/4001"]))
        async with opened(LARGE, {}, tmp_path) as other, opened(SMALL, {}, tmp_path, book=abroad) as one:
            one.admit(ALL)
            other.admit(ALL)
            one.locate({other.peer: (other.address,)})
            assert contact(one, other.peer).address is None
            one.locate({other.peer: (other.address.replace("/ip4/127.0.0.1/", "/dns4/localhost/"),)})
            await until(lambda: one._dialling.book.known(other.peer)[0].failures > 1)
            assert connections(other) == 0

    play(scenario)


def test_news_without_end_do_not_make_a_node_dial_without_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        few = Limits(ping=0.1, dial=5.0, retry=0.001, retry_most=0.001, dial_rate=1e-6, dial_burst=3.0)
        with nobody() as closed:
            async with opened(SMALL, {LARGE.peer: closed}, tmp_path, few) as one:
                one.admit(ALL)
                await until(lambda: one._dialling.book.known(LARGE.peer)[0].failures == 3)
                for _ in range(20):
                    one.on_sighting(LARGE.peer, ())
                    await trio.testing.wait_all_tasks_blocked(0.005)
                assert one._dialling.book.known(LARGE.peer)[0].failures == 3

    play(scenario)


class Sighted:
    """A Finder that finds what it is told to."""

    def __init__(self) -> None:
        self.found: Found | None = None

    async def run(self, peer: PeerId, listen: str, found: Found) -> None:
        self.found = found
        await anyio.sleep_forever()


@asynccontextmanager
async def sighting(directory: Path, known: Addresses) -> AsyncIterator[tuple[Wire, Found]]:
    """A node on a local network, and the means to let it see somebody there."""
    finder = Sighted()
    async with opened(SMALL, known, directory, SLOW, finders=(finder,)) as wire:
        await until(lambda: finder.found is not None)
        assert finder.found is not None
        yield wire, finder.found


def test_a_sighting_is_news_even_where_nothing_is_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        with nobody() as closed:
            async with sighting(tmp_path, {LARGE.peer: closed}) as (one, found):
                one.admit(frozenset({LARGE.peer}))
                for count in range(1, 6):
                    await until(lambda count=count: one._dialling.book.known(LARGE.peer)[0].failures == count)
                    found(LARGE.peer, ())

    play(scenario)


def test_strangers_that_are_seen_cost_little_and_are_dialled_once_they_are_members(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sighting(tmp_path, {}) as (one, found):
            for number in range(1_000):
                found(PeerId(f"stranger {number}"), (f"/ip4/10.0.0.1/tcp/{number + 1}",) * 100)
            found(LARGE.peer, ("/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"))
            found(one.peer, ("/ip4/10.0.0.1/tcp/2",))
            assert len(one._dialling._sighted) == 256
            assert max(map(len, one._dialling._sighted.values())) <= 8
            assert not one._dialling.book.known(LARGE.peer)
            one.admit(frozenset({LARGE.peer}))
            assert one._dialling.book.turn(LARGE.peer) == ("/ip4/10.0.0.1/tcp/1",)

    play(scenario)


def test_a_failing_address_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with nobody() as closed:
            async with opened(SMALL, {LARGE.peer: closed}, tmp_path) as one:
                one.admit(ALL)
                await until(lambda: one._dialling.book.known(LARGE.peer)[0].failures > 4)

    caplog.set_level(logging.INFO, "node")
    play(scenario)
    (told,) = [each.getMessage() for each in caplog.records if "cannot reach" in each.getMessage()]
    assert LARGE.peer in told
    assert "\n" not in told


def test_latency_is_measured_on_both_sides(tmp_path: Path) -> None:
    async def scenario() -> None:
        known: dict[PeerId, str] = {}
        async with opened(LARGE, {}, tmp_path) as other, opened(SMALL, known, tmp_path) as one:
            known[other.peer] = other.address
            one.admit(ALL)
            other.admit(ALL)
            assert contact(one, other.peer).latency is None
            await assert_meet(one, other)
            await until(lambda: contact(one, other.peer).latency and contact(other, one.peer).latency)
            latency = contact(one, other.peer).latency
            await until(lambda: contact(one, other.peer).latency != latency)

    play(scenario)
