"""An audit's report as one page for a browser: no script, nothing from elsewhere, all that was read escaped."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from ledger.charts import CHOICES, credits_chart, line_class, money, percent, unit, votes_chart
from ledger.evidence import CONTRADICTIONS
from ledger.markup import Child, Markup, join, tag
from ledger.report_money import money_sections

MAX_ROUNDS = 500
"""Rounds of the timeline and the charts: the latest; --json has all of them."""
MAX_LISTED = 500
"""The most violations, equivocations and messages without effect that are listed."""

ENDINGS = ("accepted", "rejected", "neutral", "closed", "passed")
_MARKS = {"approve": "\u2713", "reject": "\u2717", "abstain": "\u2013", "unavailable": "\u2205"}

Report = Mapping[str, Any]


def page(found: Report, again: str) -> str:
    """The page of a report (ledger.audit.report); `again` is the command that repeats the audit."""
    shown = found["timeline"][-MAX_ROUNDS:]
    style = files("ledger").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Audit of topic {found['topic']}"),
        tag("style", Markup(style)),
    )
    sections = [
        _verdict(found),
        _evidence(found),
        _facts(found),
        *(_charts(found, shown) if shown else ()),
        *money_sections(found),
        _participants(found),
        _rounds(found, shown),
        _ignored(found),
        _repeat(found, again),
    ]
    body = tag("body", tag("main", *sections))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _verdict(found: Report) -> Markup:
    faults = found["violations"]
    mark = "\u2713 ok" if found["ok"] else f"\u2717 {_count(len(faults), 'violation')}"
    says = (
        "History, signatures, turns, tallies and money all hold."
        if found["ok"]
        else "What breaks a rule, by the sequence number of its message, or in the treasury's account:"
    )
    return tag(
        "header",
        tag("h1", tag("span", mark, cls="mark"), f" \u00b7 audit of topic {found['topic']}"),
        tag("p", says),
        _listed(faults, lambda v: join(tag("b", _place(v["sequence"])), v["reason"])),
        cls="holds" if found["ok"] else "broken",
    )


def _evidence(found: Report) -> Markup | None:
    proofs = found["equivocations"]
    if not proofs:
        return None
    return tag(
        "section",
        tag("h2", f"{_count(len(proofs), 'equivocation')} proven"),
        tag(
            "p",
            "A member signed what excludes each other: its fault, and none of the history. See docs/audit.md.",
        ),
        _listed(
            proofs,
            lambda e: join(
                tag("b", f"messages {e['first']} and {e['second']}"),
                f"{CONTRADICTIONS.get(e['kind'], e['kind'])} of member {e['member']} in round {e['round']}",
            ),
        ),
        cls="warn",
    )


def _facts(found: Report) -> Markup:
    rounds = found["timeline"]
    params = tag("dl", *(_pair(name, _value(value)) for name, value in found["params"].items()))
    return tag(
        "section",
        tag("h2", "The run"),
        tag(
            "dl",
            _pair("run", _hash(found["run"])),
            _pair("founded", _clock(found["began"])),
            _pair("last round ended", _clock(rounds[-1]["time"] if rounds else None)),
            _pair("members", str(len(found["roster"]))),
            _pair("rounds", str(found["rounds"])),
            _pair("messages", f"{found['messages']}, {len(found['ignored'])} of them without effect"),
            _pair("head", _hash(found["head"])),
        ),
        tag("div", *(_part(found, ending) for ending in ENDINGS if found[ending]), cls="share"),
        tag("ul", *(_key(e, f"{found[e]} {e}") for e in ENDINGS), cls="keys"),
        tag("details", tag("summary", "Rules of the run"), params) if found["params"] else None,
    )


def _part(found: Report, ending: str) -> Markup:
    percentage = 100 * found[ending] / found["rounds"]
    return tag("span", "", cls=ending, style=f"width:{percentage:.2f}%")


def _charts(found: Report, shown: Sequence[Report]) -> list[Markup]:
    before: Counter[str] = Counter(found["credits"])
    for entry in shown:
        before.subtract(entry["credits"])
    accounts, top = list(found["credits"]), max([1, *found["credits"].values()])
    late = tag("li", tag("i", "", cls="late"), "late vote")
    return [
        tag(
            "section",
            tag("h2", "Gains and votes by round"),
            votes_chart(shown),
            tag("p", "Each dot is the gain one voter found on its own data (square-root scale).", cls="soft"),
            tag("ul", *(_key(c, c) for c in CHOICES), late, cls="keys"),
        ),
        tag(
            "section",
            tag("h2", f"Credits by round, in {unit(top)}"),
            credits_chart(shown, before),
            tag(
                "ul",
                *(
                    _key(line_class(account, accounts), f"{account}: {money(found['credits'][account], top)}")
                    for account in sorted(accounts)
                ),
                cls="keys",
            ),
        ),
    ]


_COLUMNS = (
    "member", "account", "turns", "accepted", "rejected", "other",
    *_MARKS.values(), "late", "absent", "earned", "lost", "at stake",
)  # fmt: skip


def _participants(found: Report) -> Markup:
    top = max([1, *found["credits"].values(), *(m["staked"] for m in found["participants"])])
    rows = []
    for member in found["participants"]:
        other = member["neutral"] + member["closed"] + member["passed"]
        cells: list[Child] = [member["turns"], member["accepted"], member["rejected"], other]
        cells += [member["votes"][choice] for choice in _MARKS]
        cells += [member["late_votes"], member["absences"]]
        cells += [
            money(amount, top)
            for amount in (
                member["vote_credits"] + member["proposal_credits"],
                member["lost_penalties"] + member["lost_faults"],
                member["staked"] + member["unbonding"],
            )
        ]
        rows.append(
            tag(
                "tr",
                tag("td", member["member"], title=member["peer"]),
                tag("td", member["account"], cls="left"),
                *(tag("td", cell) for cell in cells),
            )
        )
    titles = tag("tr", *(tag("th", name, cls="left" if name == "account" else None) for name in _COLUMNS))
    owed = tag("dl", *(_pair(name, money(sum_, top)) for name, sum_ in found["credits"].items()))
    legend = ", ".join(f"{mark} {choice}" for choice, mark in _MARKS.items())
    return tag(
        "section",
        tag("h2", "What each participant did"),
        tag("div", tag("table", tag("thead", titles), tag("tbody", *rows)), cls="wide"),
        tag("p", f"Votes: {legend}. Earned: its votes, and the whole reward of its proposals.", cls="soft"),
        tag("h2", "Credits by account") if found["credits"] else None,
        owed if found["credits"] else None,
    )


def _rounds(found: Report, shown: Sequence[Report]) -> Markup:
    left = len(found["timeline"]) - len(shown)
    times = [found["began"], *(entry["time"] for entry in found["timeline"])][left:]
    items = [_round(entry, before) for entry, before in zip(shown, times, strict=False)]
    return tag(
        "section",
        tag("h2", "Rounds"),
        tag("p", f"The first {left} rounds are left out here; --json has them.", cls="soft")
        if left
        else None,
        tag("ol", *items, cls="rounds") if items else tag("p", "No round has ended."),
    )


def _round(entry: Report, before: str) -> Markup:
    took = (_nanoseconds(entry["time"]) - _nanoseconds(before)) / 10**9
    when = f"message {entry['sequence']}, {_clock(entry['time'])}, after {took:.1f} s"
    absent = ", ".join(map(str, entry["absent"]))
    return tag(
        "li",
        tag(
            "div",
            tag("b", f"Round {entry['round']}"),
            " ",
            tag("span", entry["ending"], cls=f"badge {entry['ending']}"),
        ),
        tag(
            "div",
            join("proposer: member ", entry["proposer"]),
            join(", candidate ", _hash(entry["candidate"])) if entry["candidate"] else None,
            tag("ul", *map(_vote, entry["votes"]), cls="votes") if entry["votes"] else None,
            tag("div", f"absent: {absent}", cls="soft") if absent else None,
            tag("div", when, cls="soft"),
        ),
    )


def _vote(vote: Report) -> Markup:
    late = vote["late"]
    return tag(
        "li",
        f"member {vote['voter']} ",
        tag("b", f"{_MARKS[vote['choice']]} {vote['choice']}"),
        f" {percent(vote['gain'])}{' late' if late else ''}",
        cls=f"{vote['choice']}{' late' if late else ''}",
    )


def _ignored(found: Report) -> Markup | None:
    passed = found["ignored"]
    if not passed:
        return None
    return tag(
        "section",
        tag("h2", f"{_count(len(passed), 'message')} without effect"),
        tag("p", "They break no rule: stale, doubled, foreign, or incomplete.", cls="soft"),
        _listed(passed, lambda p: join(tag("b", f"message {p['sequence']}"), p["reason"])),
    )


def _repeat(found: Report, again: str) -> Markup:
    return tag(
        "section",
        tag("h2", "Repeat this audit"),
        tag("p", "Nobody needs to be believed: read the topic from any mirror node, and check it yourself."),
        tag("pre", tag("code", again)),
        tag("p", "The run and the head above must be the same, and the verdict too."),
        tag("p", f"topic {found['topic']}, {_count(found['messages'], 'message')}", cls="soft"),
    )


def _listed(entries: Sequence[Report], line: Callable[[Report], Markup]) -> Markup | None:
    more = len(entries) - MAX_LISTED
    items = [tag("li", line(entry)) for entry in entries[:MAX_LISTED]]
    if more > 0:
        items.append(tag("li", f"and {more} more; --json has them"))
    return tag("ol", *items, cls="faults") if items else None


def _pair(name: str, value: Child) -> Markup:
    return join(tag("dt", name), tag("dd", value))


def _value(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _key(kind: str, label: str) -> Markup:
    return tag("li", tag("i", "", cls=kind), label)


def _hash(digest: str | None) -> Markup:
    return tag("span", digest or "none", cls="hash")


def _place(sequence: int | None) -> str:
    return "treasury" if sequence is None else f"message {sequence}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _nanoseconds(time: str) -> int:
    return int(time.replace(".", ""))


def _clock(time: str | None) -> str:
    if time is None:
        return "never"
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(time.partition(".")[0]))
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
