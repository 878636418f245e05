"""What an audit's report says of money, members and rules, as plain JSON values (docs/audit.md)."""

from dataclasses import asdict
from typing import Any

from ledger.book import Balances, Book, Course, Event, balances
from ledger.holding import HoldingCheck
from protocol.ids import EPOCH, AccountId, Nanoseconds, RunningHash
from protocol.money import liabilities
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import Transfer

_AMOUNTS = ("deposits", "pool", "stakes", "unbonding", "reserve", "owed", "paid", "fees")


def money_part(state: RunState, book: Book, checked: HoldingCheck | None) -> dict[str, Any]:
    """Where each tinybar is, what came of every settlement, and how the treasury's account compares."""
    money = state.money
    now = balances(money, Stamp(0, EPOCH, RunningHash("")))
    accounts = [dict(part) for part in (money.earned, money.owed, money.paid, money.funds)]
    return {
        "treasury": money.treasury,
        **{name: getattr(now, name) for name in _AMOUNTS},
        "liabilities": liabilities(money),
        "keys": {"required": money.keys.required, "members": list(money.keys.places)},
        "accounts": {
            account: dict(
                zip(("earned", "owed", "paid", "funded"), (p.get(account, 0) for p in accounts), strict=True)
            )
            for account in sorted({account for part in accounts for account in part})
        },
        "settlements": [_settlement(course, checked) for course in book.courses],
        "account": _account(money.treasury, checked),
        "history": [_history(now) for now in book.balances],
    }


def _settlement(course: Course, checked: HoldingCheck | None) -> dict[str, Any]:
    settlement = course.settlement
    outcome, transaction = str(course.outcome), course.transaction
    executed = [each for each in (checked.in_progress if checked else ()) if each.succeeded]
    if outcome == "open" and executed:
        outcome, transaction = "executed", executed[0].id
    return {
        "number": settlement.number,
        "kind": "payment" if settlement.keys is None else "rotation",
        "sequence": settlement.sequence,
        "opened": str_time(settlement.opened),
        "expires": str_time(settlement.expires),
        "payees": dict(settlement.payees),
        "outcome": outcome,
        "closed": course.closed,
        "transaction": transaction,
        "fee": course.fee,
    }


def _account(treasury: AccountId | None, checked: HoldingCheck | None) -> dict[str, Any] | None:
    """The treasury's account on the ledger; None where it was not read."""
    if treasury is None or checked is None:
        return None
    return {
        "balance": checked.balance,
        "source": "mirror" if checked.shown else "transactions",
        "key": {None: "not checked", True: "holds", False: "differs"}[checked.key],
        "in_progress": [_transfer(each, treasury) for each in checked.in_progress],
        "unclaimed": [_transfer(each, treasury) for each in checked.unclaimed],
        "unclaimed_total": sum(each.moved(treasury) for each in checked.unclaimed),
        "unlisted": checked.unlisted,
    }


def _transfer(transfer: Transfer, treasury: AccountId) -> dict[str, Any]:
    return {
        "transaction": transfer.id,
        "time": str_time(transfer.time),
        "amount": transfer.moved(treasury),
        "memo": transfer.memo,
    }


def _history(now: Balances) -> dict[str, Any]:
    return {"sequence": now.sequence, "time": str_time(now.time)} | {
        name: getattr(now, name) for name in _AMOUNTS
    }


def event_entry(event: Event) -> dict[str, Any]:
    """A deposit, or a change of members, rules or keys; without what does not apply."""
    fields = {name: value for name, value in asdict(event).items() if value is not None}
    changes = {name: [old, new] for name, old, new in event.changes}
    return fields | {"time": str_time(event.time), "changes": changes}


def str_time(time: Nanoseconds) -> str:
    """Consensus time as a mirror writes it: seconds, a point, nine digits."""
    return f"{time // 10**9}.{time % 10**9:09d}"
