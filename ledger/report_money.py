"""The part of an audit's page that is about money and members: balances, settlements, and who came and went."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.charts import BALANCES, balances_chart, money, unit
from ledger.markup import Child, Markup, join, tag

MAX_ROWS = 500
"""The most settlements, accounts, events and transactions that are listed."""

Report = Mapping[str, Any]
_TOTALS = ("pool", "stakes", "unbonding", "reserve", "owed", "paid", "fees", "deposits")


def money_sections(found: Report) -> list[Markup]:
    """The treasury, its settlements, what came in and is nobody's, and changes of members; none where there is none."""
    facts = found["money"]
    if not facts or facts["treasury"] is None:
        return _events(found, 1)
    top = max(1, facts["deposits"])
    return [
        tag(
            "section",
            tag("h2", f"The treasury, {facts['treasury']}"),
            tag("dl", *(_pair(name, money(facts[name], top)) for name in _TOTALS)),
            _account(facts, top),
            *_balances(facts, top),
        ),
        *_settlements(facts, top),
        *_accounts(facts, top),
        *_unclaimed(facts, top),
        *_events(found, top),
    ]


def _account(facts: Report, top: int) -> Markup:
    account = facts["account"]
    if account is None:
        return tag(
            "p", "Its account on the ledger was not read: nothing here is compared with it.", cls="soft"
        )
    keys = facts["keys"]
    members = ", ".join(map(str, keys["members"]))
    rest = account["unclaimed_total"] + account["unlisted"]
    return tag(
        "dl",
        _pair("must hold", money(facts["liabilities"], top)),
        _pair("holds", f"{money(account['balance'], top)}, by its {_SOURCES[account['source']]}"),
        _pair("unclaimed", money(rest, top)),
        _pair("key", f"any {keys['required']} of members {members}: {account['key']}"),
    )


_SOURCES = {"mirror": "account on the mirror", "transactions": "transactions"}


def _balances(facts: Report, top: int) -> list[Markup]:
    if not facts["history"]:
        return []
    latest = facts["history"][-1]
    keys = [
        tag("li", tag("i", "", cls=f"c{place}"), f"{name}: {money(latest[name], top)}")
        for place, name in enumerate(BALANCES)
    ]
    return [
        tag("h2", f"Balances by record, in {unit(top)}"),
        balances_chart(facts["history"]),
        tag("p", "On a square-root scale: the pool would flatten all else on a linear one.", cls="soft"),
        tag("ul", *keys, cls="keys"),
    ]


def _settlements(facts: Report, top: int) -> list[Markup]:
    def row(entry: Report) -> list[Child]:
        payees = ", ".join(
            f"{money(amount, top)} to {account}" for account, amount in entry["payees"].items()
        )
        return [
            entry["number"],
            entry["sequence"],
            entry["outcome"],
            money(entry["fee"], top),
            entry["transaction"] or "none",
            payees or entry["kind"],
        ]

    names = ("settlement", "memo", "outcome", "fee", "transaction", "pays")
    return _table("Settlements", names, facts["settlements"], row, left=4)


def _accounts(facts: Report, top: int) -> list[Markup]:
    def row(entry: tuple[str, Report]) -> list[Child]:
        return [entry[0], *(money(entry[1][name], top) for name in names[1:])]

    names = ("account", "earned", "owed", "paid", "funded")
    return _table("Accounts", names, list(facts["accounts"].items()), row, left=6)


def _unclaimed(facts: Report, top: int) -> list[Markup]:
    def row(entry: Report) -> list[Child]:
        return [entry["transaction"], money(entry["amount"], top), entry["memo"]]

    listed = [] if facts["account"] is None else facts["account"]["unclaimed"]
    return _table("Unclaimed: no record names them", ("transaction", "amount", "memo"), listed, row, left=2)


def _events(found: Report, top: int) -> list[Markup]:
    def row(entry: Report) -> list[Child]:
        who = [f"member {entry['member']}"] if "member" in entry else []
        who += [f"account {entry['account']}"] if "account" in entry else []
        changes = [f"{name}: {old} \u2192 {new}" for name, (old, new) in entry["changes"].items()]
        amount = money(entry["amount"], top) if "amount" in entry else ""
        return [entry["sequence"], entry["op"], amount, ", ".join(who), "; ".join(changes)]

    names = ("message", "record", "amount", "who", "changes")
    return _table("Deposits, members, rules and keys", names, found["events"], row, left=3)


def _table(
    title: str,
    names: Sequence[str],
    entries: Sequence[Any],
    row: Callable[[Any], Sequence[Child]],
    left: int,
) -> list[Markup]:
    """A section with a table; its columns from `left` on stand left, like the first."""
    if not entries:
        return []

    def cells(kind: str, values: Sequence[Child]) -> Markup:
        return tag(
            "tr", *(tag(kind, v, cls="left" if place >= left else None) for place, v in enumerate(values))
        )

    more = len(entries) - MAX_ROWS
    rows = [cells("td", row(entry)) for entry in entries[-MAX_ROWS:]]
    table = tag("table", tag("thead", cells("th", names)), tag("tbody", *rows))
    note = tag("p", f"The first {more} are left out here; --json has them.", cls="soft") if more > 0 else None
    return [tag("section", tag("h2", title), note, tag("div", table, cls="wide"))]


def _pair(name: str, value: Child) -> Markup:
    return join(tag("dt", name), tag("dd", value))
