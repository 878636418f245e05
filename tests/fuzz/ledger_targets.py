"""Targets for what comes from mirrors, and for the files and databases that the ledger's part keeps."""

import json
from functools import cache
from typing import Any

import httpx

from ledger.audit import Audit, report
from ledger.checkpoint import read_checkpoint, write_checkpoint
from ledger.keys import load_key, signing_key
from ledger.lookup import FileTransfers
from ledger.mirror import Mirror
from ledger.outbox import Outbox
from ledger.pages import is_transaction_id, read_history, write_history
from ledger.reading import take_saved
from ledger.shared_key import MAX_KEYS, shared_key
from ledger.topic import LedgerError
from protocol.fields import canonical_json
from protocol.ids import AccountId, Nanoseconds, Tinybar, digest_of
from tests.fuzz.target import Target, check_line, file_with, finish, workplace
from tests.ledger.recorded_run import recorded
from tests.ledger.recorded_run import shared_key_of as encoded_key
from tests.protocol.world import TOPIC, TREASURY

PAGE_WORDS = (
    b'"messages":',
    b'"transactions":',
    b'"links":{"next":',
    b"/api/v1/",
    b"null",
    b"0.0.",
    b"?scheduled",
)


def check_pages(data: bytes) -> None:
    """A mirror's answer, whatever is asked: what it says is taken, or refused in one line."""
    finish(_ask_all(data))


async def _ask_all(data: bytes) -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        # A link may lead to the same page for ever; a reader that follows it is stopped here.
        return httpx.Response(200, content=data if asked % 4 else b"{}")

    transport = httpx.MockTransport(answer)
    named, account = "0.0.2000-1700000000-000000001", AccountId("0.0.2000")
    async with Mirror("http://127.0.0.1:1", attempts=1, transport=transport) as mirror:
        for ask in (
            lambda: _messages(mirror),
            lambda: mirror.account(account),
            lambda: mirror.topic_info(TOPIC),
            lambda: mirror.transactions(account, Nanoseconds(0), Nanoseconds(2**62), limit=100),
            lambda: mirror.transaction(named),
            lambda: mirror.schedule("0.0.5"),  # type: ignore[arg-type]
            lambda: mirror.latest(),
            lambda: mirror.nodes(),
        ):
            try:
                await ask()
            except LedgerError as error:
                check_line(error)


async def _messages(mirror: Mirror) -> None:
    async for _ in mirror.messages(TOPIC, 0):
        pass


@cache
def page_seeds() -> list[bytes]:
    """Pages as mirrors send them."""
    found = recorded()
    pages: list[Any] = [
        {"messages": found.entries[:3], "links": {"next": "/api/v1/topics/0.0.1001/messages?limit=3"}},
        {"transactions": found.transactions[:3], "links": {"next": None}},
        found.account,
        {
            "nodes": [
                {"node_account_id": "0.0.3", "service_endpoints": [{"ip_address_v4": "127.0.0.1", "port": 1}]}
            ]
        },
        {"schedule_id": "0.0.5", "transaction_body": "AAAA", "signatures": [{"public_key_prefix": "AA=="}]},
        {"topic_id": "0.0.1001", "memo": "", "submit_key": None, "admin_key": None, "deleted": False},
    ]
    return [json.dumps(page).encode() for page in pages]


def check_history(data: bytes) -> None:
    """A saved history is audited to its end, or refused in one line."""
    path = file_with("history.json", data)
    try:
        history = read_history(path)
        transfers = FileTransfers(history.transactions)
        result = Audit(TOPIC, transfers.found)
        for entry in history.messages:
            result.add(entry)
            if result.broken:
                break
        take_saved(result, history, transfers)
        result.finish()
        json.dumps(report(result))
    except LedgerError as error:
        check_line(error, path)


@cache
def history_seeds() -> list[bytes]:
    """Of a run, the first and the last of its records."""
    found, path = recorded(), workplace() / "seed.json"
    write_history(path, found.entries[:6], found.transactions[:4], (found.account,))
    small = path.read_bytes()
    write_history(path, found.entries[:40], found.transactions)
    return [small, path.read_bytes(), b'{"messages": []}']


def check_checkpoint(data: bytes) -> None:
    """A checkpoint is gone on from, or refused in one line; also one whose digest somebody has put right."""
    _read_checkpoint(data)
    try:
        outline = json.loads(data)
        outline["digest"] = digest_of(canonical_json(outline["body"]))
        repaired = canonical_json(outline)
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    _read_checkpoint(repaired)


def _read_checkpoint(data: bytes) -> None:
    path = file_with("audit.checkpoint", data)
    try:
        result = read_checkpoint(path, TOPIC)
    except LedgerError as error:
        check_line(error, path)
        return
    write_checkpoint(workplace() / "again.checkpoint", result)


@cache
def checkpoint_seeds() -> list[bytes]:
    """Audits put aside in mid-run, with and without unfinished messages."""
    found, seeds, path = recorded(), [], workplace() / "seed.checkpoint"
    for length in (1, 30, 90):
        result = Audit(TOPIC, FileTransfers(found.transactions).found)
        for entry in found.entries[:length]:
            result.add(entry)
        write_checkpoint(path, result)
        seeds.append(path.read_bytes())
    return seeds


def check_shared_key(data: bytes) -> None:
    """A key's protobuf is an m-of-n key in its only form, or none of ours."""
    key = shared_key(data)
    if key is not None:
        assert 1 <= key.required <= len(key.keys) <= MAX_KEYS
        assert encoded_key(key.required, key.keys) == data or data[:1] == b"\x32"


def check_account_key(data: bytes) -> None:
    """A private key, in a file or from the environment; refusals never quote it."""
    path = file_with("account.key", data)
    for attempt in (
        lambda: load_key(path),
        lambda: signing_key(data),
        lambda: signing_key(data.decode("latin-1")),
    ):
        try:
            attempt()
        except LedgerError as error:
            check_line(error, path)
            check_secret(data, error)


def check_secret(data: bytes, error: Exception) -> None:
    """An error does not quote a key."""
    assert len(data) < 16 or data.hex() not in str(error)


def check_outbox(data: bytes) -> None:
    """An outbox opens and can be used, or is refused in one line."""
    for leftover in workplace().glob("outbox.db-*"):
        leftover.unlink()
    path = file_with("outbox.db", data)
    try:
        with Outbox.open(path) as outbox:
            outbox.pending("0.0.2")
            outbox.unpriced("0.0.2")
            outbox.spent()
            outbox.note(Nanoseconds(1), Tinybar(1))
            assert outbox.last_start >= 0
    except LedgerError as error:
        check_line(error, path)


def outbox_seeds() -> list[bytes]:
    """An empty file, and an outbox in use."""
    path = workplace() / "seed.db"
    path.unlink(missing_ok=True)
    with Outbox.open(path) as outbox:
        outbox.note(Nanoseconds(5), Tinybar(7))
        outbox._database.execute("PRAGMA journal_mode = DELETE")
    return [b"", path.read_bytes()]


def check_names(data: bytes) -> None:
    """Whether a text is a transaction id never fails."""
    is_transaction_id(data.decode("utf-8", "surrogateescape"))


def key_seeds() -> list[bytes]:
    """Raw, in hex, and DER."""
    der = bytes.fromhex("3030020100300706052b8104000a04220420") + b"\7" * 32
    return [b"\7" * 32, (b"\7" * 32).hex().encode(), der, der.hex().encode()]


TARGETS = (
    Target("pages", check_pages, page_seeds, PAGE_WORDS, 0.05),
    Target("history", check_history, history_seeds, PAGE_WORDS, 0.1),
    Target("checkpoint", check_checkpoint, checkpoint_seeds, (b'"body":', b'"state":null'), 0.15),
    Target(
        "shared-key", check_shared_key, lambda: [bytes.fromhex(recorded().account["key"]["key"])], (), 2.0
    ),
    Target("account-key", check_account_key, key_seeds, (b"0x", b"\x30\x2e\x02\x01"), 0.3),
    Target("outbox", check_outbox, outbox_seeds, (b"SQLite format 3\0",), 0.01),
    Target(
        "transaction-id", check_names, lambda: [b"0.0.2000-1700000000-000000001", TREASURY.encode()], (), 2.0
    ),
)
