"""`roundabout cost`: what a run costs on Hedera, before it starts."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from ledger.cost import (
    LATE_VOTES,
    SETTLE_EVERY,
    TINYBAR_PER_HBAR,
    Estimate,
    Item,
    Microdollars,
    estimate,
    in_tinybar,
)

ASSUMPTIONS = (
    "prices are Hedera's of January 2026 in dollars: message chunk $0.0008, topic $0.01 and each key of it "
    "$0.01, account $0.05, schedule $0.01, its signature $0.001, transfer $0.0001",
    "every round ends in one verdict with the votes of all others; one that is closed at its deadline costs a "
    "chunk for each record that its members write",
    f"{LATE_VOTES // 10_000}% of the votes come too late for it and are written to the topic by their voters",
    "more than half of the members schedule and sign each settlement of at most nine payees, one after the other",
    "stakes, rewards and the network's own custom fees are not counted",
)


def _rate(_: click.Context, __: click.Parameter, value: str | None) -> Microdollars | None:
    """A price in dollars, kept exact to a millionth."""
    if value is None:
        return None
    try:
        rate = Decimal(value) * 1_000_000
    except InvalidOperation:
        raise click.BadParameter(f"{value!r} is no price; it reads 0.10") from None
    if not rate.is_finite() or not 1 <= rate <= 10**12 or rate != int(rate):
        raise click.BadParameter(f"{value!r} is no price from $0.000001 to $1000000")
    return Microdollars(int(rate))


@click.command("cost")
@click.option("--peers", type=click.IntRange(2, 1000), required=True, help="How many take part.")
@click.option("--rounds", type=click.IntRange(1, 1_000_000), required=True, help="How many rounds.")
@click.option(
    "--accounts",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="How many accounts are still to be created.",
)
@click.option(
    "--settle-every",
    type=click.IntRange(0, 1_000_000),
    default=SETTLE_EVERY,
    show_default=True,
    help="After how many rounds the treasury pays what is owed; 0 for never.",
)
@click.option(
    "--usd-per-hbar", "rate", metavar="USD", callback=_rate, help="The price of an hbar, to see hbar as well."
)
@click.option("--json", "as_json", is_flag=True, help="Print the estimate as one JSON object.")
def command(
    peers: int, rounds: int, accounts: int, settle_every: int, rate: Microdollars | None, as_json: bool
) -> None:
    """Estimate what a run costs on Hedera: to found, for each round, and for each participant.

    Asks nobody: prices are Hedera's published ones, sizes are computed from the records themselves.
    """
    result = estimate(peers, rounds, accounts, settle_every)
    click.echo(json.dumps(report(result, rate), indent=2) if as_json else summary(result, rate))


def report(result: Estimate, rate: Microdollars | None) -> dict[str, Any]:
    """The estimate in plain types, in microdollars, and in tinybar where a rate is known."""
    costs = {
        "founding": result.founding_cost,
        "round": result.round_cost,
        "participant": result.participant_cost,
        "running": result.running_cost,
        "total": result.total,
    }
    told: dict[str, Any] = {
        "peers": result.peers,
        "rounds": result.rounds,
        "bytes": {
            "genesis": result.genesis_bytes,
            "verdict": result.verdict_bytes,
            "vote": result.vote_bytes,
        },
        "founding": [_item(item) for item in result.founding],
        "running": [_item(item) for item in result.running],
        "microdollars": costs,
        "assumptions": list(ASSUMPTIONS),
    }
    if rate is not None:
        told["microdollars_per_hbar"] = rate
        told["tinybar"] = {name: in_tinybar(cost, rate) for name, cost in costs.items()}
    return told


def summary(result: Estimate, rate: Microdollars | None) -> str:
    """The estimate for people."""
    lines = [f"{result.peers} peers, {result.rounds} rounds: about {_money(result.total, rate)}", ""]
    for title, items, cost in (
        ("founding", result.founding, result.founding_cost),
        ("running", result.running, result.running_cost),
    ):
        lines.append(f"{title:<12}{_money(cost, rate)}")
        lines += [f"  {i.count:>9,} x {_dollars(i.price)}  {i.what}" for i in items]
    lines += [
        "",
        f"{'a round':<12}{_money(result.round_cost, rate)}",
        f"{'each peer':<12}{_money(result.participant_cost, rate)} on average, over the run",
        f"{'a verdict':<12}{result.verdict_bytes:,} bytes; a vote alone {result.vote_bytes:,}; "
        f"the genesis {result.genesis_bytes:,}",
        "",
        "Assumed:",
        *(f"- {line}" for line in ASSUMPTIONS),
    ]
    return "\n".join(lines)


def _item(item: Item) -> dict[str, Any]:
    return {"what": item.what, "count": item.count, "microdollars_each": item.price}


def _money(cost: Microdollars, rate: Microdollars | None) -> str:
    if rate is None:
        return _dollars(cost)
    hbar, tinybar = divmod(in_tinybar(cost, rate), TINYBAR_PER_HBAR)
    return f"{_dollars(cost)} ({hbar:,}.{tinybar:08} hbar)"


def _dollars(cost: Microdollars) -> str:
    whole, part = divmod(cost, 1_000_000)
    return f"${whole:,}.{part:06}"[:-2] if part % 100 == 0 else f"${whole:,}.{part:06}"
