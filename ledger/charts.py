"""The charts of an audit's report, as inline SVG made of the report's own numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.markup import Markup, join, tag

WIDTH, LEFT, RIGHT = 640.0, 62.0, 12.0
"""Units of the viewBox: the whole, the axis labels, and a margin."""
CHOICES = ("approve", "abstain", "reject", "unavailable")
"""From the bottom of a bar up."""
BALANCES = ("pool", "stakes", "owed", "paid")
"""Lines of the chart of balances, in the order of their colours."""
MAX_POINTS = 500
"""Points of a line."""
LINES = 8
"""Different colours of lines."""

_INSIDE = WIDTH - LEFT - RIGHT
_GAIN_TOP, _GAIN_HEIGHT = 16.0, 150.0
_BAR_TOP, _BAR_HEIGHT = 196.0, 70.0


def votes_chart(rounds: Sequence[Mapping[str, Any]]) -> Markup:
    """Above each round the gain that every voter found, below it how many chose what.

    Gains stand on a square-root scale: one large gain would flatten all others on a linear one.
    """
    gains = [abs(vote["gain"]) for entry in rounds for vote in entry["votes"]]
    reach = max([2_000, *gains])
    most = max([1, *(len(entry["votes"]) for entry in rounds)])
    parts: list[Markup] = []
    for share in (1.0, 0.5, 0.0, -0.5, -1.0):
        y = _GAIN_TOP + _GAIN_HEIGHT * (1 - share) / 2
        parts.append(_rule(y, percent(round(reach * share * abs(share))), "zero" if share == 0 else "grid"))
    parts += [_rule(_BAR_TOP + _BAR_HEIGHT * (1 - n / most), str(n), "grid") for n in (0, most)]
    width = min(22.0, 0.75 * _INSIDE / max(1, len(rounds)))
    for place, entry in enumerate(rounds):
        x = _x(place, len(rounds))
        parts += _dots(x, entry["votes"], reach, width)
        parts += _bar(x, entry, most, width)
    parts += _numbers([entry["round"] for entry in rounds], _BAR_TOP + _BAR_HEIGHT + 14)
    return _svg(
        _BAR_TOP + _BAR_HEIGHT + 30, "Gain found by each voter, and votes, by round", join(*parts)
    )  # fmt: skip


def _dots(x: float, votes: Sequence[Mapping[str, Any]], reach: int, width: float) -> list[Markup]:
    # Side by side in the order of places, so that equal gains do not hide each other.
    row = sorted(votes, key=lambda vote: vote["voter"])
    start, step = x - width / 2, width / max(1, len(row))
    return [_dot(start + step * (place + 0.5), vote, reach, width) for place, vote in enumerate(row)]


def _dot(x: float, vote: Mapping[str, Any], reach: int, width: float) -> Markup:
    share = math.copysign(math.sqrt(abs(vote["gain"]) / reach), vote["gain"])
    y = _GAIN_TOP + _GAIN_HEIGHT * (1 - share) / 2
    late = " late" if vote["late"] else ""
    says = f"member {vote['voter']}: {vote['choice']}, {percent(vote['gain'])}{', late' if late else ''}"
    return tag(
        "circle",
        tag("title", says),
        cx=x,
        cy=y,
        r=max(1.5, min(3.5, width / 4)),
        cls=f"dot {vote['choice']}{late}",
    )


def _bar(x: float, entry: Mapping[str, Any], most: int, width: float) -> list[Markup]:
    parts, bottom = [], _BAR_TOP + _BAR_HEIGHT
    for choice in CHOICES:
        count = sum(vote["choice"] == choice for vote in entry["votes"])
        if count:
            height = _BAR_HEIGHT * count / most
            bottom -= height
            label = tag("title", f"round {entry['round']}: {count} {choice}")
            parts.append(
                tag("rect", label, x=x - width / 2, y=bottom, width=width, height=height, cls=f"bar {choice}")
            )
    return parts


def credits_chart(rounds: Sequence[Mapping[str, Any]], before: Mapping[str, int]) -> Markup:
    """What every account has earned after each round, from what it had `before` the first one shown."""
    steps = [dict(before)]
    for entry in rounds:
        now = dict(steps[-1])
        for account, amount in entry["credits"].items():
            now[account] = now.get(account, 0) + amount
        steps.append(now)
    accounts = list(steps[-1])
    top, height, head = max([1, *steps[-1].values()]), 190.0, 16.0
    parts = [
        _rule(head + height * (1 - share), _short(int(top * share), top), "grid") for share in (1, 0.5, 0)
    ]
    for account in sorted(accounts):
        points = " ".join(
            f"{_x(place, len(steps)):.1f},{head + height * (1 - now.get(account, 0) / top):.1f}"
            for place, now in enumerate(steps)
        )
        label = tag("title", f"{account}: {money(steps[-1][account], top)}")
        parts.append(tag("polyline", label, points=points, cls=f"line {line_class(account, accounts)}"))
    numbers = [entry["round"] for entry in rounds]
    parts += _numbers([numbers[0] - 1, *numbers] if numbers else [], head + height + 14)
    return _svg(head + height + 30, "Credits of each account, by round", join(*parts))


def balances_chart(history: Sequence[Mapping[str, Any]]) -> Markup:
    """Where a run's money was after each record that moved some, on a square-root scale."""
    step = max(1, -(-len(history) // MAX_POINTS))
    shown = [*history[:-1:step], history[-1]]
    top = max([1, *(now[name] for now in shown for name in BALANCES)])
    height, head = 190.0, 16.0
    parts = [
        _rule(head + height * (1 - share), _short(int(top * share * share), top), "grid")
        for share in (1, 0.5, 0)
    ]
    for place, name in enumerate(BALANCES):
        points = " ".join(
            f"{_x(at, len(shown)):.1f},{head + height * (1 - math.sqrt(now[name] / top)):.1f}"
            for at, now in enumerate(shown)
        )
        label = tag("title", f"{name}: {money(shown[-1][name], top)}")
        parts.append(tag("polyline", label, points=points, cls=f"line c{place}"))
    parts += _numbers([now["sequence"] for now in shown], head + height + 14)
    return _svg(head + height + 30, "Pool, stakes, owed and paid, by message", join(*parts))


def line_class(account: str, accounts: Sequence[str]) -> str:
    """The class that gives an account its colour, the same in chart and legend."""
    return f"c{sorted(accounts).index(account) % LINES}"


def percent(ppm: int) -> str:
    """A gain in ppm as people read it: +0.83%."""
    return f"{ppm / 10_000:+.2f}%".replace("-", "\u2212") if ppm else "0%"


def money(amount: int, top: int) -> str:
    """An amount of tinybar: in hbar where the largest amount beside it is worth it."""
    if unit(top) == "tinybar":
        return f"{amount} tinybar"
    whole, rest = divmod(amount, 100_000_000)
    return f"{whole}.{rest:08d}".rstrip("0").rstrip(".") + " \u210f"


def unit(top: int) -> str:
    """The unit that amounts up to `top` tinybar are shown in: hbar from a hundredth of one."""
    return "tinybar" if top < 1_000_000 else "\u210f"


def _short(amount: int, top: int) -> str:
    """An amount for an axis, which has room for some seven characters: three digits are enough."""
    if unit(top) == "tinybar":
        return str(amount)
    return f"{amount / 10**8:.3g}" if amount < 10**11 else f"{amount // 10**8}"


def _x(place: int, count: int) -> float:
    return LEFT + _INSIDE * (place + 0.5) / max(1, count)


def _rule(y: float, label: str, kind: str) -> Markup:
    return join(
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, cls=kind),
        tag("text", label, x=LEFT - 6, y=y + 3.5, text_anchor="end"),
    )


def _numbers(numbers: Sequence[int], y: float) -> list[Markup]:
    step = max(1, -(-len(numbers) // 12))
    return [
        tag("text", number, x=_x(place, len(numbers)), y=y, text_anchor="middle")
        for place, number in enumerate(numbers)
        if place % step == 0
    ]


def _svg(height: float, title: str, content: Markup) -> Markup:
    drawing = tag(
        "svg", tag("title", title), content, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img"
    )  # fmt: skip
    return tag("div", drawing, cls="wide")
