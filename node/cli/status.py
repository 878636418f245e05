"""`roundabout status`: whether a daemon is alive, what it does for its run, and what it has from it."""

import json
from pathlib import Path

import click
import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from node.amounts import hbar
from node.cli.exits import FAILED, UNUSABLE, one_line, refuse
from node.config import Config, ConfigError, load_config
from node.console.address import read_address
from node.console.schema import MemberFacts, RoundFacts, Status

PATIENCE = 5.0
"""Seconds that the daemon has to answer."""
MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of the longest answer: a roster of a thousand has less."""
FACE = {"approve": "+", "reject": "-", "abstain": "=", "unavailable": "?"}


@click.command("status")
@click.argument("file", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: that of /api/status.")
def command(file: Path, as_json: bool) -> None:
    """Ask the daemon with this configuration how it stands.

    Exits 1 when no daemon answers, 2 when it cannot be asked.
    """
    with one_line(ConfigError):
        config = load_config(file)
    url, raw = ask(config, file)
    try:
        status = Status.model_validate_json(raw)
    except ValidationError:
        refuse("the daemon that answers is of another version; restart it with the one that is installed")
    if as_json:
        click.echo(json.dumps(status.model_dump(mode="json"), indent=2))
    else:
        show(status, url)


def ask(config: Config, file: Path) -> tuple[str, bytes]:
    """Where the daemon's view is, and its answer; exits with one line where there is none."""
    if not config.operator.enabled:
        refuse(f"{file} says `enabled = false` in [operator]; leave that out and restart the daemon")
    start = f"start it: roundabout node --config {file}"
    address = read_address(config.data)
    if address is None:
        refuse(f"no daemon runs on {config.data}; {start}", FAILED)
    try:
        with (
            httpx.Client(timeout=PATIENCE, trust_env=False) as client,
            client.stream("GET", f"{address.url}api/status") as answer,
        ):
            raw = b""
            for part in answer.iter_bytes():
                raw += part
                if len(raw) > MAX_ANSWER:
                    refuse(f"what listens at {address.url} answers too much to be a daemon of this version")
    except httpx.TimeoutException:
        refuse(f"the daemon at {address.url} did not answer within {PATIENCE:.0f} s; see its log", FAILED)
    except httpx.HTTPError:
        refuse(f"no daemon answers at {address.url}; {start}", FAILED)
    if answer.status_code != httpx.codes.OK:
        refuse(f"the daemon at {address.url} answers with status {answer.status_code}; see its log", UNUSABLE)
    if f'"peer":"{address.peer}"'.encode() not in raw:
        refuse(f"another daemon has taken {address.url} since this one ended; {start}", FAILED)
    return address.url, raw


def show(status: Status, url: str) -> None:
    """Print a few aligned lines."""
    console = Console(highlight=False)
    for name, words in lines_of(status, url):
        console.print(Text.assemble((f"{name:<11}", "bold"), words), soft_wrap=True)


def lines_of(status: Status, url: str) -> list[tuple[str, str]]:
    """What a person wants to know, by name."""
    node, own, totals, money = status.node, status.own, status.totals, status.money
    over = sum(totals.model_dump().values())
    lines = [
        ("node", f"{node.state}{place_of(status)}, up {duration(status.now_ms - node.started_ms)}"),
        ("run", f"{node.run or 'not read yet'}, topic {node.topic}"),
        ("round", round_line(status)),
        ("so far", f"{over} rounds: {totals.accepted} accepted, {totals.rejected} rejected, "
                   f"{totals.neutral} neutral, {totals.closed} closed, {totals.passed} passed"),
    ]  # fmt: skip
    if status.heads:
        head = status.heads[-1]
        lines.append(
            ("head", f"{head.digest[:8]}, accepted in round {head.round}" if head.round else "initial")
        )
    lines.append(("peers", peers_line(status.members)))
    labels = "" if own.labels is None else f", {own.labels} labels"
    lines.append(
        ("ours", f"{own.accepted} of {own.proposals} proposals accepted, "
                 f"{own.votes} votes in {own.chances} rounds{labels}")
    )  # fmt: skip
    if money.treasury is not None:
        lines.append(
            ("earned", f"{hbar(own.earned)}: {hbar(own.paid)} paid, {hbar(own.owed)} owed; "
                       f"{hbar(own.stake)} at stake; pool {hbar(money.pool)}")
        )  # fmt: skip
    return [*lines, ("dashboard", url)]


def place_of(status: Status) -> str:
    """Which member we are, as the rest of a sentence."""
    place = status.node.place
    if place is None:
        return "" if status.node.state == "catching up" else ", not a member of the run"
    standing = next(each.standing for each in status.members if each.place == place)
    return f", member {place}" + ("" if standing == "active" else f" ({standing})")


def round_line(status: Status) -> str:
    """The round in progress."""
    current = status.round
    if current is None:
        return "none: the run has ended" if status.node.state == "ended" else "none yet"
    left = current.deadline_ms - status.now_ms
    clock = f"{duration(left)} left" if left >= 0 else f"overdue by {duration(-left)}"
    ours = "our turn" if current.proposer == status.node.place else f"member {current.proposer}'s turn"
    return f"{current.number}, {ours}, {current.phase}, {votes_of(current)}{clock}; we: {status.node.doing}"


def votes_of(current: RoundFacts) -> str:
    """The votes that are known, by their marks."""
    if not current.votes:
        return ""
    marks = " ".join(f"{vote.place}{FACE[vote.choice]}" for vote in current.votes)
    return f"votes {marks}, "


def peers_line(members: tuple[MemberFacts, ...]) -> str:
    """Who is connected, and who is not."""
    others = [each for each in members if not each.is_self and each.standing not in ("left", "expelled")]
    up = [each for each in others if each.connected]
    latencies = [each.latency for each in up if each.latency is not None]
    speed = f", {min(latencies) * 1000:.0f} to {max(latencies) * 1000:.0f} ms" if latencies else ""
    missing = [str(each.place) for each in others if not each.connected]
    away = f"; not connected: {', '.join(missing[:20])}" if missing else ""
    return f"{len(up)} of {len(others)} connected{speed}{away}"


def duration(milliseconds: int) -> str:
    """A time span in its two largest units."""
    seconds = milliseconds // 1000
    for size, name, part, rest in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {name} {seconds % size // part} {rest}"
    return f"{seconds} s"
