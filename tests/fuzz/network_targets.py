"""Targets for what comes from peers below the messages, and for the localnet's own endpoints."""

import contextlib
from functools import cache
from urllib.parse import parse_qsl

from ledger.hiero import transaction_pb2
from ledger.localnet.envelope import parse_envelope
from ledger.localnet.errors import LocalnetError, Refused
from ledger.localnet.journal import Genesis, Journal, Ordered
from ledger.localnet.rest_query import (
    BadParameter,
    parse_entity,
    parse_integer,
    parse_query,
    parse_timestamp,
    select,
)
from ledger.localnet.state import OPERATOR, Ledger
from node.net.exchange import ANSWER, REQUEST, Lost, NotHere, parse_answer, parse_request
from node.net.frames import BadFrame, Budget, Deframer, encoded
from node.net.transport import MAX_FRAME, FetchFailed
from protocol.ids import unbase64url
from tests.fuzz.target import Target, file_with, workplace
from tests.ledger.localnet_bodies import (
    KEY,
    NOW,
    account_body,
    message_body,
    new_ledger,
    run,
    signed,
    topic_body,
    transfer_body,
)


def check_frames(data: bytes) -> None:
    """Frames come out the same however the stream was cut, and at most one that is not whole is held."""
    whole, whole_fault = _deframed([data])
    size = len(data) // 50 + 1 + (data[0] if data else 0)
    parts, parts_fault = _deframed([data[start : start + size] for start in range(0, len(data), size)])
    assert whole_fault == parts_fault
    if not whole_fault:
        assert whole == parts
        assert all(len(body) <= MAX_FRAME for body in whole)
        again = b"".join(encoded(body) if body else bytes(4) for body in whole)
        assert data.startswith(again)
        assert len(data) - len(again) < 4 + MAX_FRAME


def _deframed(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    deframer, bodies = Deframer(), []
    try:
        for piece in pieces:
            bodies += deframer.feed(piece)
            assert len(deframer._buffer) < 4 + MAX_FRAME
    except BadFrame:
        return bodies, True
    return bodies, False


def frame_seeds() -> list[bytes]:
    """Frames of all lengths, and signs of life."""
    return [
        bytes(4),
        encoded(b"x"),
        encoded(b"{}") * 20,
        bytes(8) + encoded(bytes(MAX_FRAME)) + encoded(b"y"),
    ]


def check_budget(data: bytes) -> None:
    """Nobody gets more out than the burst and what has flowed in since."""
    budget, now, taken = Budget(10.0, 20.0, 0.0), 0.0, 0.0
    for amount, step in zip(data[::2], data[1::2], strict=False):
        now += step / 16
        taken += amount * budget.take(amount, now)
        assert taken <= 20.0 + 10.0 * now + 1e-6


# ---- blobs ----


SIZE = 1_000


def check_blob_answer(data: bytes) -> None:
    """An answer promises exactly as many bytes as were asked for, or at most as many, or it is a failure."""
    raw = data[: ANSWER.size]
    if len(raw) == ANSWER.size:
        for limit, exact in ((SIZE, None), (SIZE, SIZE)):
            with contextlib.suppress(NotHere, FetchFailed):
                length = parse_answer(raw, limit, exact)
                assert 0 <= length <= limit
                assert exact is None or length == exact
                assert raw == ANSWER.pack(0, length)


def check_blob_request(data: bytes) -> None:
    """A request of 37 bytes is one of three kinds, about one digest and one number, or the stream is over."""
    raw = data[: REQUEST.size]
    if len(raw) == REQUEST.size:
        with contextlib.suppress(Lost):
            kind, digest, number = parse_request(raw)
            assert REQUEST.pack(kind, unbase64url(digest, 32), number) == raw


# ---- the localnet ----


def _ledger() -> Ledger:
    """One network for all inputs, anew when it has grown: transactions that succeed add to it."""
    if not _ledgers or len(_ledgers[0].by_id) > 500:
        _ledgers[:] = [new_ledger()]
        run(_ledgers[0], signed(topic_body(NOW - 1)))
    return _ledgers[0]


_ledgers: list[Ledger] = []


def check_transaction(data: bytes) -> None:
    """What a client sends is carried out or refused, and so is its body when it is signed as it is."""
    with contextlib.suppress(Refused):
        envelope = parse_envelope(data)
        assert envelope.payer >= 0
    for raw in (data, signed(data)):
        with contextlib.suppress(Refused):
            run(_ledger(), raw)


@cache
def transaction_seeds() -> list[bytes]:
    """Transactions, and bodies that are yet to be signed."""
    bodies = [
        topic_body(NOW),
        message_body(NOW, 1002, b"hello"),
        account_body(NOW, KEY_MESSAGE, 5),
        transfer_body(NOW, (OPERATOR, -5), (98, 5)),
    ]
    raw = [body.SerializeToString() for body in bodies]
    return [*raw, *map(signed, bodies), transaction_pb2.Transaction(bodyBytes=raw[0]).SerializeToString()]


def check_query(data: bytes) -> None:
    """A query string: understood, or refused with status 400; pages are never longer than the limit."""
    known = frozenset({"account.id", "timestamp", "sequencenumber", "scheduled"})
    try:
        given = parse_qsl(data.decode("latin-1"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return
    try:
        query = parse_query("/api/v1/x", given, known, "asc")
        window = query.window("sequencenumber", parse_integer)
        query.window("timestamp", parse_timestamp)
        query.window("account.id", parse_entity)
    except BadParameter:
        return
    items = range(500)
    page = select(items, lambda item: item, window, query, lambda _: True)
    assert len(page) <= min(query.limit, 100)
    assert all(item in window for item in page)
    assert query.next_link("sequencenumber", "7", len(page)) is None or len(page) == query.limit


def query_seeds() -> list[bytes]:
    """As clients ask."""
    return [
        b"limit=25&order=asc&sequencenumber=gt:5",
        b"timestamp=gte:1700000000.000000001&timestamp=lt:1700000001",
        b"account.id=0.0.5&limit=100&order=DESC&sequencenumber=ne:3",
    ]


def check_localnet_journal(data: bytes) -> None:
    """A journal is read to its last whole frame, or refused; nothing whole is ever cut off."""
    path = file_with("localnet.journal", data)
    with contextlib.suppress(LocalnetError), Journal(path, GENESIS) as journal:
        torn = journal.torn_bytes
        kept = list(journal.replay())
        assert path.read_bytes() == data[: len(data) - torn]
        journal.append([Ordered(1, b"x")])
        assert kept is not None


GENESIS = Genesis(NOW, b"\1" * 32)


def localnet_journal_seeds() -> list[bytes]:
    """A network with some history."""
    path = workplace() / "seed.journal"
    path.unlink(missing_ok=True)
    with Journal(path, GENESIS) as journal:
        journal.append([Ordered(NOW + n, b"transaction %d" % n) for n in range(3)])
        journal.append([Ordered(NOW + 9, b"last")])
    return [path.read_bytes(), b""]


def request_seeds() -> list[bytes]:
    return [REQUEST.pack(kind, bytes(32), 7) for kind in range(4)]


KEY_MESSAGE = KEY.public_key()._to_proto()

TARGETS = (
    Target("frames", check_frames, frame_seeds, (bytes(4), b"\0\1\0\0", b"\0\1\0\1"), 1.0),
    Target("budget", check_budget, lambda: [bytes(range(256))], (), 0.5),
    Target(
        "blob-answer",
        check_blob_answer,
        lambda: [ANSWER.pack(0, SIZE), ANSWER.pack(1, 0)],
    ),
    Target(
        "blob-request",
        check_blob_request,
        lambda: [REQUEST.pack(kind, bytes(32), 7) for kind in range(4)],
        (),
        0.5,
    ),
    Target("transaction", check_transaction, transaction_seeds, (b"\x08", b"\x12", b"\x1a", b"\x2a"), 0.3),
    Target(
        "query", check_query, query_seeds, (b"limit=", b"&order=", b"gt:", b"sequencenumber=", b"%00"), 1.5
    ),
    Target("localnet-journal", check_localnet_journal, localnet_journal_seeds, (), 0.1),
)
