"""What becomes of a change that no audit catches: its class in docs/audit.md, by what it is and not by where.

Each class is a proof: the function that names it checks that nothing else can have changed.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from ledger.chunks import History
from ledger.lookup import transfer_of
from ledger.pages import TransactionEntry
from protocol.transfers import Transfer
from tests.ledger.mutations import Mutation
from tests.ledger.recorded_run import Recording
from tests.ledger.rewriting import Rewriting
from tests.protocol.world import TREASURY

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "audit.md"
HEADING = "## What a change can and cannot hide"


def documented() -> set[str]:
    """The classes that docs/audit.md lists: the first column of its table."""
    part = DOCUMENT.read_text().partition(HEADING)[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([a-z ]+)` \|", part, re.MULTILINE))


def class_of(rewriting: Rewriting, mutation: Mutation, found: dict[str, Any]) -> str:
    """The class of a change after which an audit finds nothing wrong."""
    whole = rewriting.whole
    differs = {name for name in whole if whole[name] != found[name]}
    name = named(rewriting.recording, mutation, differs, found)
    money = whole["money"], found["money"]
    if name == "outcome":
        shown = [[(each["number"], each["transaction"]) for each in part["settlements"]] for part in money]
        assert shown[0] == shown[1]
        assert found["money"]["settlements"][-1]["outcome"] == "executed"
    else:
        amounts = [{k: v for k, v in part.items() if isinstance(v, int)} for part in money]
        assert amounts[0] == amounts[1], "the fold has another result"
    return name


def named(recording: Recording, mutation: Mutation, differs: set[str], found: dict[str, Any]) -> str:
    """The class, given in what parts the report differs."""
    if mutation.account is not None:
        return account_class(recording, mutation.account, differs, found)
    if mutation.transactions is not None:
        return transaction_class(recording, mutation, differs)
    return message_class(recording, mutation, differs)


# ---- the treasury ----


def account_class(
    recording: Recording, page: dict[str, Any], differs: set[str], found: dict[str, Any]
) -> str:
    account = found["money"]["account"]
    if page["account"] != recording.account["account"]:
        assert (account["source"], account["key"]) == ("transactions", "not checked")
        return "not shown"
    assert page["key"] == recording.account["key"]
    more = page["balance"]["balance"] - recording.account["balance"]["balance"]
    assert account["unlisted"] == more >= 0, "a balance that is too low is a violation"
    assert differs == ({"money"} if more else set())
    return "unclaimed" if more else "unread"


def transaction_class(recording: Recording, mutation: Mutation, differs: set[str]) -> str:
    assert mutation.transactions is not None
    before, after = parsed(recording.transactions), parsed(mutation.transactions)
    if before == after:
        assert not differs
        return "spelling"
    used = recording.state.money.used
    if {each for each in before if each.id in used} <= after:
        assert differs <= {"money"}
        return "unclaimed"
    (old,), (new,) = before - after, after - before
    assert not differs
    assert (old.id, old.memo, old.succeeded) == (new.id, new.memo, new.succeeded)
    assert old.moved(TREASURY) == new.moved(TREASURY)
    if old.id.endswith("?scheduled"):
        assert old.fee == new.fee
        assert not old.succeeded or old.name == new.name
        payees = [account for account, amount in old.moves if amount > 0 and account != "0.0.98"]
        assert all(new.moved(account) >= old.moved(account) for account in payees)
    return "unread"


def parsed(entries: Iterable[dict[str, Any]]) -> set[Transfer]:
    return {transfer_of(TransactionEntry.model_validate(entry)) for entry in entries}


# ---- messages ----


def tail_of(recording: Recording) -> int:
    """The first message after the last opening that somebody has signed."""
    last = recording.state.last
    assert last is not None
    assert last.proposal is not None
    signed = last.proposal.body.opening.sequence
    return next(n for n, (start, _) in enumerate(recording.spans) if start >= signed)


def message_class(recording: Recording, mutation: Mutation, differs: set[str]) -> str:
    """The class of a change of the topic; all but spelling comes after the last opening that was signed."""
    what, number = mutation.what, mutation.start
    if what.startswith("chunk_info") and not differs:
        assert joined(recording.entries) == joined(served(recording, mutation))
        return "spelling"
    assert number >= tail_of(recording), f"{what} at message {number + 1}"
    body = recording.bodies[number]
    if body[:1] != b"{" and what.split()[0] != "payer_account_id" and "swapped" not in what:
        assert differs <= {"ignored", "messages"}
        return "foreign"
    op = orjson.loads(body)["op"] if body[:1] == b"{" else "none"
    allowed, name = {
        "payer_account_id": (set[str](), "payer"),
        "consensus_timestamp": ({"timeline", "money", "events"}, "time"),
    }.get(what.split()[0], ({"ignored", "equivocations"}, "repeated"))
    if what in ("message swapped", "verdict votes 0 swapped", "verdict votes 1 swapped"):
        allowed, name = {"ignored", "equivocations", "timeline", "money", "events"}, "order"
    elif what == "message doubled":
        allowed, name = {"ignored", "messages", "money"}, "copy"
    elif op == "settled" and name == "repeated":
        assert number == max(n for n, raw in enumerate(recording.bodies) if b'"op":"settled"' in raw)
        allowed, name = {"ignored", "messages", "money"}, "outcome"
    elif name == "repeated":
        assert op in ("propose", "vote", "end"), what
    assert differs <= allowed, f"{what} at message {number + 1} changes {sorted(differs)}"
    return name


def served(recording: Recording, mutation: Mutation) -> list[dict[str, Any]]:
    """A topic as it is served after a change of it, its running hashes aside."""
    assert mutation.entries is not None
    start = recording.spans[mutation.start][0]
    entries = list(recording.entries)
    entries[start : start + mutation.length] = mutation.entries
    return entries


def joined(entries: Iterable[dict[str, Any]]) -> list[object]:
    """The messages of entries that chain as they are."""
    history = History(next(iter(entries))["topic_id"])
    return [each for entry in entries for each in history.add(entry)]
