"""The address book: whom to dial where, in which order; hostile words cost little."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.addresses import (
    KEPT_FOR,
    PER_SOURCE,
    PER_TURN,
    REMEMBERED,
    AddressBook,
    Known,
    Scope,
    Source,
    is_worth_a_dial,
    own_scopes,
    scope_of,
)
from node.net.remembered import MOST, Remembered
from protocol.ids import PeerId

ANNA, BERT = PeerId("anna"), PeerId("bert")
HOME = frozenset({Scope.LOOPBACK})


def at(port: int, host: str = "93.184.216.7") -> str:
    return f"/ip4/{host}/tcp/{port}"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("/ip4/93.184.216.34/tcp/4001", Scope.PUBLIC),
        (
            "/ip4/93.184.216.34/tcp/4001/p2p/16Uiu2HAm6RLcTUcCVX1YmMEWVWADdJLdHgjoY1G4kkxzD6XNF1zc",
            Scope.PUBLIC,
        ),
        ("/ip6/2606:2800:220:1::1/tcp/4001", Scope.PUBLIC),
        ("/dns4/example.org/tcp/4001", Scope.NAMED),
        ("/ip4/10.1.2.3/tcp/4001", Scope.PRIVATE),
        ("/ip4/192.168.1.1/tcp/80", Scope.PRIVATE),
        ("/ip4/100.64.0.1/tcp/80", Scope.PRIVATE),
        ("/ip6/fd00::1/tcp/80", Scope.PRIVATE),
        ("/ip6/::ffff:10.0.0.1/tcp/80", Scope.PRIVATE),
        ("/ip4/127.0.0.1/tcp/4001", Scope.LOOPBACK),
        ("/ip6/::1/tcp/4001", Scope.LOOPBACK),
        ("/ip6/::ffff:127.0.0.1/tcp/80", Scope.LOOPBACK),
        ("/ip4/169.254.169.254/tcp/80", Scope.LINK),
        ("/ip4/0.0.0.0/tcp/4001", Scope.NOWHERE),
        ("/ip6/::/tcp/4001", Scope.NOWHERE),
        ("/ip4/224.0.0.251/tcp/5353", Scope.NOWHERE),
        ("/ip4/255.255.255.255/tcp/1", Scope.NOWHERE),
        ("/ip4/93.184.216.34/tcp/0", Scope.NOWHERE),
        ("/ip4/93.184.216.34/tcp/65536", Scope.NOWHERE),
        ("/ip4/93.184.216.34/udp/4001", Scope.NOWHERE),
        ("/ip4/::1/tcp/4001", Scope.NOWHERE),
        ("/ip4/1.2.3/tcp/4001", Scope.NOWHERE),
        ("/ip6/fe80::1%eth0/tcp/4001", Scope.NOWHERE),
        ("", Scope.NOWHERE),
    ],
)
def test_from_where_an_address_can_be_reached(address: str, scope: Scope) -> None:
    assert scope_of(address) is scope


@given(st.text(max_size=60) | st.from_regex(r"/ip[46]/[0-9a-f:.]{1,20}/tcp/[0-9]{1,6}", fullmatch=True))
def test_any_text_has_a_scope(text: str) -> None:
    assert scope_of(text) in Scope


def test_others_do_not_make_us_dial_our_own_house() -> None:
    inside = {Scope.LOOPBACK, Scope.PRIVATE, Scope.LINK, Scope.NOWHERE}
    for scope in inside:
        assert not is_worth_a_dial(scope, Source.ANNOUNCED, frozenset({Scope.PUBLIC}))
    assert not is_worth_a_dial(Scope.LOOPBACK, Source.LAN, HOME)
    assert not is_worth_a_dial(Scope.NAMED, Source.LAN, HOME)
    assert is_worth_a_dial(Scope.LOOPBACK, Source.ANNOUNCED, own_scopes(["/ip4/127.0.0.1/tcp/0"]))
    assert own_scopes(["/ip4/0.0.0.0/tcp/4001", "/dns4/example.org/tcp/1"]) == frozenset()
    assert all(is_worth_a_dial(scope, Source.CONFIGURED, HOME) for scope in set(Scope) - {Scope.NOWHERE})


def test_a_name_is_dialled_only_where_its_giver_may_send_us() -> None:
    book = AddressBook()
    book.tell(ANNA, Source.ANNOUNCED, ["/dns4/evil.example/tcp/80"])
    book.tell(BERT, Source.CONFIGURED, ["/dns4/home.example/tcp/80"])
    assert book.turn(ANNA) == ("/dns4/evil.example/tcp/80",)
    assert not book.is_ours_to_dial(ANNA, "/dns4/evil.example/tcp/80", "/ip4/127.0.0.1/tcp/80")
    assert not book.is_ours_to_dial(ANNA, "/dns4/evil.example/tcp/80", "/ip4/192.168.1.1/tcp/80")
    assert book.is_ours_to_dial(ANNA, "/dns4/evil.example/tcp/80", at(80))
    assert book.is_ours_to_dial(BERT, "/dns4/home.example/tcp/80", "/ip4/192.168.1.1/tcp/80")


def test_what_worked_last_comes_first_then_what_is_untried_then_what_was_tried_longest_ago() -> None:
    clock = Clock()
    book = AddressBook(clock=clock)
    book.tell(ANNA, Source.ANNOUNCED, [at(1), at(2)])
    book.tell(ANNA, Source.CONFIGURED, [at(3)])
    assert book.turn(ANNA) == (at(3), at(1), at(2))
    assert book.on_failure(ANNA, at(3))
    assert not book.on_failure(ANNA, at(3))
    assert book.on_failure(ANNA, at(1))
    assert book.turn(ANNA) == (at(2), at(3), at(1))
    book.on_answer(ANNA, at(1))
    assert book.turn(ANNA) == (at(1), at(2), at(3))
    clock.now += 1
    book.on_answer(ANNA, at(3))
    book.on_failure(ANNA, at(3))
    assert book.turn(ANNA)[0] == at(3)


def test_what_a_source_says_takes_the_place_of_what_it_said_before() -> None:
    book = AddressBook()
    assert book.tell(ANNA, Source.ANNOUNCED, [at(1), at(2)])
    assert not book.tell(ANNA, Source.ANNOUNCED, [at(2), at(1)])
    assert book.tell(ANNA, Source.ANNOUNCED, [at(2), at(3)])
    assert set(book.turn(ANNA)) == {at(2), at(3)}
    assert not book.tell(ANNA, Source.LAN, [at(3)])
    book.tell(ANNA, Source.ANNOUNCED, [])
    assert book.turn(ANNA) == (at(3),)
    book.tell(ANNA, Source.LAN, [])
    assert book.turn(ANNA) == ()


def test_who_is_not_admitted_any_more_is_forgotten_but_for_where_it_was_reached() -> None:
    book = AddressBook()
    book.tell(ANNA, Source.ANNOUNCED, [at(1), at(2)])
    book.tell(BERT, Source.ANNOUNCED, [at(1)])
    book.on_answer(ANNA, at(1))
    book.keep_only(frozenset())
    assert (book.turn(ANNA), book.turn(BERT)) == ((at(1),), ())


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("tell"),
            st.sampled_from(Source),
            st.lists(st.integers(1, 40).map(at), max_size=PER_SOURCE + 4),
        ),
        st.tuples(st.sampled_from(["answer", "failure"]), st.integers(1, 40).map(at)),
        st.tuples(st.just("time"), st.floats(0, KEPT_FOR)),
    ),
    max_size=40,
)


@given(actions)
def test_a_book_is_bounded_and_holds_what_its_sources_last_said(taken: list[tuple[object, ...]]) -> None:
    clock, said = Clock(), dict.fromkeys(Source, ())
    book = AddressBook(clock=clock)
    for action in taken:
        match action:
            case ("tell", source, addresses):
                book.tell(ANNA, source, addresses)
                said[source] = tuple(addresses[:PER_SOURCE])
            case ("answer", address):
                book.on_answer(ANNA, address)
            case ("failure", address):
                book.on_failure(ANNA, address)
            case ("time", seconds):
                clock.now += seconds
        known = book.known(ANNA)
        given_now = set().union(*said.values())
        assert {each.address for each in known if each.sources} == given_now
        assert len(known) <= len(given_now) + REMEMBERED
        assert len({each.address for each in known}) == len(known)


@given(st.integers(1, 3 * PER_SOURCE))
def test_every_address_has_its_turn(count: int) -> None:
    book = AddressBook()
    addresses = [at(port) for port in range(1, count + 1)]
    for source in Source:
        book.tell(ANNA, source, addresses[PER_SOURCE * source : PER_SOURCE * (source + 1)])
    tried = set()
    for _ in range(-(-count // PER_TURN)):
        turn = book.turn(ANNA)
        assert len(turn) <= PER_TURN
        tried |= set(turn)
        for address in turn:
            book.on_failure(ANNA, address)
    assert tried == set(addresses)


# ---- on disk ----


def test_where_peers_were_reached_is_known_after_a_restart(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "addresses.db"
    with Remembered.open(file) as memory:
        book = AddressBook(memory=memory, clock=clock)
        book.tell(ANNA, Source.ANNOUNCED, [at(1), at(2), at(3)])
        book.on_answer(ANNA, at(2))
        clock.now += 1
        book.on_answer(ANNA, at(1))
        book.on_failure(ANNA, at(3))
    assert file.stat().st_mode & 0o777 == 0o600
    with Remembered.open(file) as memory:
        assert AddressBook(memory=memory, clock=clock).turn(ANNA) == (at(1), at(2))
        clock.now += KEPT_FOR
        assert AddressBook(memory=memory, clock=clock).turn(ANNA) == (at(1),)
        clock.now += 2
        assert AddressBook(memory=memory, clock=clock).turn(ANNA) == ()
    with Remembered.open(file) as memory:
        assert memory.recall() == {}


def test_a_peer_that_is_away_does_not_wear_the_disk(tmp_path: Path) -> None:
    with Remembered.open(tmp_path / "addresses.db") as memory:
        book = AddressBook(memory=memory)
        book.tell(ANNA, Source.CONFIGURED, [at(1), at(2)])
        book.on_answer(ANNA, at(1))
        book.on_failure(ANNA, at(1))
        changes = memory._database.total_changes
        for _ in range(100):
            book.on_failure(ANNA, at(1))
            book.on_failure(ANNA, at(2))
        assert memory._database.total_changes == changes
        (known,) = memory.recall()[ANNA]
        assert known.failures == 1


@pytest.mark.parametrize(
    "content", [b"this is no database, and longer than a header of one" * 99, b"SQLite format 3\0"]
)
def test_a_damaged_file_is_moved_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "addresses.db"
    file.write_bytes(content)
    with Remembered.open(file) as memory:
        assert memory.recall() == {}
        memory.note(ANNA, Known(at(1), worked=1.0))
        assert memory.recall() == {ANNA: (Known(at(1), worked=1.0),)}
    assert (tmp_path / "addresses.db.damaged").read_bytes() == content
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "addresses.db.damaged" in record.getMessage()


def test_a_file_that_cannot_be_opened_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "addresses.db"
    with Remembered.open(file) as memory:
        memory.note(ANNA, Known(at(1), worked=1.0))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with Remembered.open(file) as memory:
        assert memory.recall() == {}
    other.close()
    assert len(caplog.records) == 1
    with Remembered.open(file) as memory:
        assert memory.recall() == {ANNA: (Known(at(1), worked=1.0),)}


def test_pages_that_are_damaged_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "addresses.db"
    with Remembered.open(file) as memory:
        for number in range(500):
            memory.note(PeerId(f"peer {number}"), Known(at(1), worked=1.0))
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.write_bytes(content)
    with Remembered.open(file) as memory:
        assert memory.recall() == {}
    assert (tmp_path / "addresses.db.damaged").read_bytes() == content


def test_without_a_file_a_node_does_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Remembered.open(tmp_path / "none" / "addresses.db") as memory:
        memory.note(ANNA, Known(at(1), worked=1.0))
        memory.forget(ANNA, at(1))
        assert memory.recall() == {}
    assert len(caplog.records) == 1


def test_the_file_is_bounded_and_its_addresses_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "addresses.db"
    with Remembered.open(file) as memory:
        memory._database.execute("BEGIN")
        for number in range(MOST + 10):
            memory.note(PeerId(f"peer {number}"), Known(at(1), worked=float(number)))
        memory.note(ANNA, Known("/ip4/0.0.0.0/tcp/1", worked=float(MOST + 99)))
        memory._database.execute("COMMIT")
    with Remembered.open(file) as memory:
        found = memory.recall()
        assert len(found) == MOST - 1
        assert ANNA not in found
        assert PeerId(f"peer {MOST + 9}") in found
        assert PeerId("peer 0") not in found
