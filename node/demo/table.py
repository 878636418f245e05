"""The live table: a round a line; plain lines where there is no terminal."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from node.demo.watch import Standing
from protocol.ids import Digest, Tinybar
from protocol.messages import Choice, Vote
from protocol.money import Settlement
from protocol.state import ClosedRound

MARKS = {Choice.APPROVE: "+", Choice.REJECT: "-", Choice.ABSTAIN: "=", Choice.UNAVAILABLE: "?"}
COLOURS = {Choice.APPROVE: "green", Choice.REJECT: "red", Choice.ABSTAIN: "yellow", Choice.UNAVAILABLE: "dim"}
LEGEND = "votes: + approve, - reject, = abstain, ? unavailable, each with its gain in % of a lap; . not seen"
SHOWN_ROUNDS = 40
"""Rounds in the live table; older ones scroll out of it."""


def vote_cell(votes: Sequence[Vote], place: int, proposer: int) -> str:
    """One member's vote and gain: `+12.3`, `=0.0`, `-4.5` in percent; `prop` for the proposer."""
    if place == proposer:
        return "prop"
    for vote in votes:
        if vote.body.voter == place:
            return f"{MARKS[vote.body.choice]}{abs(vote.body.gain) / 10_000:.1f}"
    return "."


def mean_lap_success(standing: Standing, head: Digest) -> str:
    """Mean lap success of a head over the families, or `...` while it is measured."""
    found = standing.lap_success.get(head)
    return "..." if found is None else f"{sum(found.values()) / len(found):.3f}"


def head_after(standing: Standing, index: int) -> Digest:
    """The head after the index-th closed round."""
    assert standing.state is not None, "a closed round has a state"
    for closed in reversed(standing.rounds[: index + 1]):
        if closed.ending == "accepted" and closed.proposal is not None:
            return closed.proposal.body.candidate
    return standing.state.params.initial


def plain_line(standing: Standing, index: int, families: Sequence[str]) -> str:
    """One round as a line of text."""
    closed = standing.rounds[index]
    head = head_after(standing, index)
    cells = [f"{vote_cell(closed.votes, p, closed.proposer):>6}" for p in range(len(families))]
    return (
        f"round {closed.number:>3}  {families[closed.proposer]:<14} {' '.join(cells)}  {closed.ending:<8}"
        f"  head {head[:8]}  laps {mean_lap_success(standing, head)}  {standing.seconds[closed.number]:6.1f} s"
    )


def payment_line(settlement: Settlement, fee: Tinybar) -> str:
    """One payment out of the treasury as a line of text."""
    amount, count = sum(paid for _, paid in settlement.payees) / 1e8, len(settlement.payees)
    accounts = "one account" if count == 1 else f"{count} accounts"
    paid = f"the treasury paid {amount:.2f} hbar to {accounts}"
    return f"settlement {settlement.number}: {paid}, for a fee of {fee / 1e8:.4f}"


def live_view(standing: Standing, families: Sequence[str], progress: Progress) -> RenderableType:
    """The table, the balances, and the progress bar."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("round", "proposer"):
        table.add_column(name)
    for place, family in enumerate(families):
        table.add_column(f"{place} {family}", justify="right")
    for name in ("verdict", "head", "laps", "s"):
        table.add_column(name, justify="right")
    first = max(0, len(standing.rounds) - SHOWN_ROUNDS)
    for index in range(first, len(standing.rounds)):
        table.add_row(*_cells(standing, index, families))
    _add_sums(table, standing, families)
    return Group(table, progress)


def _cells(standing: Standing, index: int, families: Sequence[str]) -> list[str]:
    closed = standing.rounds[index]
    head = head_after(standing, index)
    return [
        str(closed.number),
        families[closed.proposer],
        *(_coloured(closed, place) for place in range(len(families))),
        closed.ending,
        head[:8],
        mean_lap_success(standing, head),
        f"{standing.seconds[closed.number]:.0f}",
    ]


def _coloured(closed: ClosedRound, place: int) -> str:
    cell = vote_cell(closed.votes, place, closed.proposer)
    colour = next((COLOURS[v.body.choice] for v in closed.votes if v.body.voter == place), "cyan")
    return f"[{colour}]{cell}[/]"


def _add_sums(table: Table, standing: Standing, families: Sequence[str]) -> None:
    state = standing.state
    if state is None:
        return
    earned = [f"{state.earned_by(member.account) / 1e8:.2f}" for member in state.roster]
    held = [f"{standing.balances.get(member.account, 0) / 1e8:.2f}" for member in state.roster]
    labels = [str(standing.labels.get(place, 0)) for place in range(len(families))]
    table.add_section()
    table.add_row("", "earned, hbar", *earned)
    table.add_row("", "balance, hbar", *held)
    table.add_row("", "labels", *labels)


def progress_bar(console: Console, rounds: int) -> Progress:
    """Rounds done, of how many, and the time elapsed."""
    progress = Progress(
        TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    progress.add_task("rounds", total=rounds)
    return progress
