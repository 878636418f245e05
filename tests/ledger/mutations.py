"""Every change of one thing in a recorded run: a field of a record, an entry, a transaction; drops, doubles, swaps."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from protocol.messages import Choice
from tests.ledger.recorded_run import CHUNK_BYTES, Recording

Json = Any
Entries = tuple[dict[str, Any], ...]

WORDS: tuple[tuple[str, ...], ...] = (
    tuple(map(str, Choice)),
    ("accepted", "rejected", "neutral"),
    ("proposal", "vote", "pass"),
    ("vote", "open"),
    ("SUCCESS", "INVALID_SIGNATURE", "DUPLICATE_TRANSACTION"),
    ("CRYPTOTRANSFER", "CRYPTOUPDATEACCOUNT"),
    ("verdict", "vote", "propose", "close"),
)
"""Words that stand where others of them may stand."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change, and what is served then: a record's entries and those after them, or other transactions."""

    what: str
    """What was changed, as a path: `verdict votes 0 2 +1`."""
    start: int
    """The message before which nothing is changed."""
    entries: Entries | None = None
    """Those that stand in place of `length` entries; numbers and running hashes are not right yet. None: no change."""
    length: int = 0
    transactions: Entries | None = None
    account: dict[str, Any] | None = None


# ---- values ----


def variants(value: Json) -> Iterator[tuple[str, Json]]:
    """Other values in place of one that is no list and no object."""
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int):
        yield "+1", value + 1
        yield "-1", value - 1
    elif isinstance(value, str):
        yield from texts(value)
    elif value is None:
        yield "set", 1
        yield "set", "0.0.2001-1800000000-000000001"


def texts(text: str) -> Iterator[tuple[str, str]]:
    """Other texts of the same form, so that it is not the form by which they are found out."""
    for words in WORDS:
        if text in words:
            yield from (("another word", word) for word in words if word != text)
    if re.fullmatch(r"0\.0\.\d+", text):
        yield "another account", "0.0.2001" if text != "0.0.2001" else "0.0.2002"
        yield "the next account", f"0.0.{int(text[4:]) + 1}"
    elif re.fullmatch(r"0\.0\.\d+-\d+-\d{9}.*", text):
        name, scheduled, _ = text.partition("?")
        yield "another id", f"{name[:-1]}{(int(name[-1]) + 1) % 10}{'?scheduled' if scheduled else ''}"
        yield "another schedule", name if scheduled else f"{name}?scheduled"
    elif re.fullmatch(r"\d+\.\d{9}", text):
        time = int(text.replace(".", ""))
        for change in (1, -1, 10**9, -(10**9), 500 * 10**9):
            yield f"{change:+} ns", timestamp(time + change)
    elif text:
        at = len(text) // 2
        yield "another letter", f"{text[:at]}{'B' if text[at] != 'B' else 'C'}{text[at + 1 :]}"


def timestamp(time: int) -> str:
    return f"{time // 10**9}.{time % 10**9:09}"


def changes(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every change of one thing in a value: a leaf, an item, a pair of neighbours, a key that is not there."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"{path} {key} removed", {k: v for k, v in value.items() if k != key}
            for what, other in changes(part, f"{path} {key}"):
                yield what, {**value, key: other}
    elif isinstance(value, list):
        for n, part in enumerate(value):
            yield f"{path} {n} removed", value[:n] + value[n + 1 :]
            yield f"{path} {n} doubled", [*value[: n + 1], *value[n:]]
            if n + 1 < len(value) and part != value[n + 1]:
                yield f"{path} {n} swapped", [*value[:n], value[n + 1], part, *value[n + 2 :]]
            for what, other in changes(part, f"{path} {n}"):
                yield what, [*value[:n], other, *value[n + 1 :]]
    else:
        yield from ((f"{path} {what}", other) for what, other in variants(value))


def borrowed(value: Json, other: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every leaf replaced by what stands in its place in another record."""
    if isinstance(value, dict) and isinstance(other, dict):
        for key in value.keys() & other.keys():
            yield from ((w, {**value, key: v}) for w, v in borrowed(value[key], other[key], f"{path} {key}"))
    elif isinstance(value, list) and isinstance(other, list):
        for n in range(min(len(value), len(other))):
            parts = borrowed(value[n], other[n], f"{path} {n}")
            yield from ((w, [*value[:n], v, *value[n + 1 :]]) for w, v in parts)
    elif value != other:
        yield f"{path} borrowed", other


# ---- messages ----


def served(entries: Entries, body: bytes) -> Entries:
    """A message's entries with another body, in as many chunks."""
    last = len(entries) - 1
    pieces = [body[n * CHUNK_BYTES : (n + 1) * CHUNK_BYTES] for n in range(last)] + [
        body[last * CHUNK_BYTES :]
    ]
    return tuple(
        {**entry, "message": base64.b64encode(piece).decode()}
        for entry, piece in zip(entries, pieces, strict=True)
    )


def retimed(entries: Entries, times: list[str]) -> Entries:
    pairs = zip(entries, times, strict=True)
    return tuple({**entry, "consensus_timestamp": time} for entry, time in pairs)


def changed_bodies(recording: Recording) -> Iterator[Mutation]:
    """Each field of each record, changed."""
    values = [orjson.loads(body) if body[:1] == b"{" else None for body in recording.bodies]
    following: dict[str, Json] = {}
    for number in reversed(range(len(values))):
        value, (start, stop) = values[number], recording.spans[number]
        if value is None:
            continue
        entries, op = recording.entries[start:stop], value["op"]
        for what, other in (*changes(value), *borrowed(value, following.get(op))):
            body = orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
            yield Mutation(f"{op}{what}", number, served(entries, body), stop - start)
        following[op] = value


def moved_messages(recording: Recording) -> Iterator[Mutation]:
    """Each message, and each chunk, dropped, doubled, or swapped with the next one; the history cut before it."""
    spans = recording.spans
    for number, (start, stop) in enumerate(spans):
        entries = recording.entries[start:stop]
        yield Mutation("message dropped", number, (), stop - start)
        yield Mutation("history cut", number, (), len(recording.entries) - start)
        yield Mutation("message doubled", number, (*entries, *later(entries)), stop - start)
        if number + 1 < len(spans):
            both = recording.entries[start : spans[number + 1][1]]
            times = [entry["consensus_timestamp"] for entry in both]
            swapped = (*both[stop - start :], *entries)
            yield Mutation("message swapped", number, retimed(swapped, times), len(both))
        for n, entry in enumerate(entries if len(entries) > 1 else ()):
            yield Mutation("chunk dropped", number, (*entries[:n], *entries[n + 1 :]), len(entries))
            twice = (*entries[: n + 1], *later((entry,)), *entries[n + 1 :])
            yield Mutation("chunk doubled", number, twice, len(entries))
        if len(entries) > 1:
            times = [entry["consensus_timestamp"] for entry in entries]
            yield Mutation("chunk swapped", number, retimed(entries[::-1], times), len(entries))


def later(entries: Entries) -> Entries:
    """Entries a nanosecond after the last of them, as another message."""
    time = int(entries[-1]["consensus_timestamp"].replace(".", ""))
    moved = retimed(entries, [timestamp(time + 1 + n) for n in range(len(entries))])
    return tuple({**entry, "chunk_info": restarted(entry["chunk_info"])} for entry in moved)


def restarted(chunk: dict[str, Any] | None) -> dict[str, Any] | None:
    if chunk is None or chunk["number"] == chunk["total"]:
        return chunk
    initial = chunk["initial_transaction_id"]
    return {**chunk, "initial_transaction_id": {**initial, "transaction_valid_start": "1800000000.999999999"}}


def changed_entries(recording: Recording) -> Iterator[Mutation]:
    """What an entry says beside its bytes: payer, time, which chunk of what it is."""
    part = {
        "initial_transaction_id": {
            "account_id": "0.0.7",
            "nonce": 0,
            "scheduled": False,
            "transaction_valid_start": "1800000000.999999998",
        },
        "number": 1,
        "total": 2,
    }
    for number, (start, stop) in enumerate(recording.spans):
        entries = recording.entries[start:stop]
        for n, entry in enumerate(entries):
            options = [
                (field, what, other)
                for field in ("payer_account_id", "consensus_timestamp")
                for what, other in variants(entry[field])
            ]
            chunk = entry["chunk_info"]
            options += [("chunk_info", what, other) for what, other in changes(chunk)]
            options.append(
                ("chunk_info", " invented", part) if chunk is None else ("chunk_info", " removed", None)
            )
            for field, what, other in options:
                changed = (*entries[:n], {**entry, field: other}, *entries[n + 1 :])
                yield Mutation(f"{field} {what.strip()}", number, changed, stop - start)


# ---- the treasury ----


def changed_transactions(recording: Recording) -> Iterator[Mutation]:
    """Each field of each transaction changed; each dropped, and doubled."""
    transactions = recording.transactions
    for n, entry in enumerate(transactions):
        kind = kind_of(entry)
        rest = (transactions[:n], transactions[n + 1 :])
        others = [(what, (other,)) for what, other in changes(entry)]
        others += [(" dropped", ()), (" doubled", (entry, entry)), (" again later", (entry, again(entry)))]
        if n + 1 < len(transactions):
            others += [(what, (other,)) for what, other in borrowed(entry, transactions[n + 1])]
        for what, instead in others:
            served = (*rest[0], *instead, *rest[1])
            times = [
                each["consensus_timestamp"] for each in (entry, *instead) if "consensus_timestamp" in each
            ]
            start = first_after(recording, min(times))
            yield Mutation(f"{kind}{what}", start, transactions=served)


def kind_of(entry: dict[str, Any]) -> str:
    """What a transaction is to a run: deposit, dust, payment, attempt (that failed), rotation."""
    if entry["scheduled"]:
        return "attempt" if entry["result"] != "SUCCESS" else (
            "rotation" if entry["name"] == "CRYPTOUPDATEACCOUNT" else "payment"
        )  # fmt: skip
    return "dust" if base64.b64decode(entry["memo_base64"]) == b"for you" else "deposit"


def again(entry: dict[str, Any]) -> dict[str, Any]:
    time = int(entry["consensus_timestamp"].replace(".", ""))
    return {**entry, "consensus_timestamp": timestamp(time + 1)}


def first_after(recording: Recording, time: str) -> int:
    """The first message that is later than a time: nothing before it can depend on what happened then."""
    firsts = (recording.entries[stop - 1]["consensus_timestamp"] for _, stop in recording.spans)
    return next((n for n, first in enumerate(firsts) if first > time), len(recording.spans))


def changed_account(recording: Recording) -> Iterator[Mutation]:
    """Each field of the treasury's account changed."""
    for what, other in changes(recording.account):
        yield Mutation(f"account{what}", len(recording.spans), account=other)


def all_mutations(recording: Recording) -> Iterator[Mutation]:
    yield from changed_bodies(recording)
    yield from moved_messages(recording)
    yield from changed_entries(recording)
    yield from changed_transactions(recording)
    yield from changed_account(recording)
