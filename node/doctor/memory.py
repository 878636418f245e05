"""What must survive a crash: the journal of what was signed, the outbox of what is being sent. Both are only read."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ledger.outbox import MAX_PENDING
from node.doctor.findings import Finding, Findings, doubt, fine, problem

_MINUTE = 60_000_000_000


def examine_journal(data: Path) -> Finding:
    """Whether the journal is whole."""
    path = data / "journal.db"
    if not path.exists():
        return fine("journal", "nothing was signed yet")
    remedy = (
        "restore it from a copy no older than what this node signed last, or leave the run and join again with a "
        "new key: signing without a journal risks the stake"
    )
    try:
        with closing(_opened(path)) as database:
            (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (count,) = database.execute("SELECT count(*) FROM signed").fetchone()
    except (OSError, sqlite3.Error) as error:
        return problem("journal", f"{path} cannot be read: {error}", remedy)
    if health != "ok":
        return problem("journal", f"{path} is damaged: {' '.join(health.split())}", remedy)
    return fine("journal", f"{count} messages were signed, the journal is whole")


def examine_outbox(data: Path, limit: int, now: int) -> Findings:
    """Whether the outbox is whole, and what of the spend limit is left. now: nanoseconds."""
    path = data / "outbox.db"
    if not path.exists():
        return (fine("outbox", "nothing was sent yet"),)
    remedy = "restore it from a copy, or put it aside: then what was being sent may be sent again"
    horizon = now // _MINUTE - 61
    try:
        with closing(_opened(path)) as database:
            (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
            pending = "SELECT count(*) FROM entries WHERE state = 'pending'"
            (waiting,) = database.execute(pending).fetchone()
            select = "SELECT coalesce(sum(amount), 0) FROM spent WHERE minute > ?"
            (spent,) = database.execute(select, (horizon,)).fetchone()
    except (OSError, sqlite3.Error) as error:
        return (problem("outbox", f"{path} cannot be read: {error}", remedy),)
    if health != "ok":
        return (problem("outbox", f"{path} is damaged: {' '.join(health.split())}", remedy),)
    return (_waiting(waiting), _spent(spent, limit))


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)


def _waiting(count: int) -> Finding:
    if count > MAX_PENDING // 2:
        said = f"{count} transactions have no answer, of at most {MAX_PENDING}"
        return doubt("outbox", said, "is the network up? check [ledger] nodes")
    return fine("outbox", f"it is whole, {count} transactions are under way")


def _spent(spent: int, limit: int) -> Finding:
    said = f"{spent} of {limit} tinybar were spent or reserved in the last hour"
    if spent >= limit:
        return problem("outbox", said, "wait, or raise [ledger] spend_limit")
    if spent > limit * 3 // 4:
        return doubt("outbox", said, "raise [ledger] spend_limit if that is not enough")
    return fine("outbox", said)
