"""Targets for how a node is found and looked at: addresses, multicast DNS, what it remembers, its operator's view."""

from starlette.datastructures import QueryParams

from node.config import ConfigError
from node.console.address import FILE, read_address
from node.console.queries import BadQuery, RoundsQuery, parse_query
from node.net.addresses import Known, Scope, scope_of
from node.net.lan import MOST, sightings, text_of
from node.net.remembered import Remembered
from node.progress import open_progress
from protocol.ids import PeerId, digest_of
from tests.fuzz.target import Target, check_line, file_with, workplace
from tests.protocol.world import PEERS

ADDRESSES = ("/ip4/192.0.2.7/tcp/4101", "/ip6/2001:db8::1/tcp/1", "/dns4/example.org/tcp/65535")


def check_address(data: bytes) -> None:
    """Whether a text is an address that could be dialled, and from where, never fails."""
    text = data.decode("utf-8", "surrogateescape")
    if scope_of(text) is not Scope.NOWHERE:
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 400
        assert text.count("/") in (4, 6)


def check_mdns(data: bytes) -> None:
    """A TXT record of anybody on the network: few addresses, each of the form that is dialled."""
    found = sightings(data)
    assert sum(map(len, found.values())) <= MOST
    for peer, addresses in found.items():
        assert peer.isalnum()
        assert sightings(text_of(peer, addresses))[peer] == addresses


def check_remembered(data: bytes) -> None:
    """A cache of addresses is used, or put aside; a node never fails to start over it."""
    for leftover in workplace().glob("book.db-*"):
        leftover.unlink()
    path = file_with("book.db", data)
    with Remembered.open(path) as book:
        for known in book.recall().values():
            assert all(scope_of(each.address) is not Scope.NOWHERE for each in known)
        book.note(PEERS[0], Known(ADDRESSES[0], worked=1.0, failures=0))
        book.forget(PEERS[0], ADDRESSES[0])


def remembered_seeds() -> list[bytes]:
    """An empty file, and a book in use."""
    path = workplace() / "seed-book.db"
    path.unlink(missing_ok=True)
    with Remembered.open(path) as book:
        book.note(PEERS[1], Known(ADDRESSES[1], worked=2.0, failures=1))
        assert book._database is not None
        book._database.execute("PRAGMA journal_mode = DELETE")
    return [b"", path.read_bytes()]


def check_notes(data: bytes) -> None:
    """What a founding and the operator's view leave for the next command: read, or refused."""
    try:
        open_progress(file_with("progress.json", data), digest_of(b"founding"))
    except ConfigError as error:
        check_line(error, workplace())
    read_address(file_with(FILE, data).parent)


def note_seeds() -> list[bytes]:
    """Both, as they are written."""
    of = digest_of(b"founding")
    return [
        f'{{"of":"{of}","topic":"0.0.5","treasury":null}}'.encode(),
        f'{{"peer":"{PEERS[0]}","url":"http://127.0.0.1:8080/"}}'.encode(),
    ]


def check_view(data: bytes) -> None:
    """A query of the operator's view: understood, or refused in one line."""
    try:
        parse_query(RoundsQuery, QueryParams(data))
    except BadQuery as error:
        check_line(error)


def mdns_seeds() -> list[bytes]:
    """One peer's record, and that of several."""
    text = text_of(PEERS[0], ADDRESSES[:2])
    return [text, text + text_of(PeerId(PEERS[1]), ADDRESSES[:1]) * 5]


TARGETS = (
    Target(
        "address", check_address, lambda: [a.encode() for a in ADDRESSES], (b"/ip4/", b"/tcp/", b"/p2p/"), 1.5
    ),
    Target("mdns", check_mdns, mdns_seeds, (b"dnsaddr=/ip4/", b"/tcp/", b"/p2p/16Uiu2", b"\0"), 1.5),
    Target("remembered", check_remembered, remembered_seeds, (b"SQLite format 3\0",), 0.01),
    Target("notes", check_notes, note_seeds, (b'"of":', b'"topic":'), 0.3),
    Target(
        "view-query", check_view, lambda: [b"limit=25&from=7", b"limit=1"], (b"limit=", b"&", b"%00"), 1.0
    ),
)
