"""`roundabout simulate`: many whole nodes under virtual time, with everything that goes wrong, from a seed."""

import json
import os
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from node.cli.exits import FAILED, refuse
from node.simulation.campaign import Broken, Summary, run_seed, run_seeds
from node.simulation.plan import Setup

MAX_SHOWN = 10
"""Broken seeds that are shown; all are counted."""


@click.command("simulate")
@click.option(
    "--peers", type=click.IntRange(1, 1000), default=7, show_default=True, help="How many take part."
)
@click.option(
    "--rounds", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many rounds."
)
@click.option(
    "--byzantine",
    type=click.IntRange(0, 499),
    default=3,
    show_default=True,
    help="How many of them are faulty.",
)
@click.option(
    "--committee", type=click.IntRange(0, 999), default=0, help="How many vote in a round; 0: everybody."
)
@click.option(
    "--seeds", type=click.IntRange(1, 10_000_000), default=100, show_default=True, help="How many runs."
)
@click.option(
    "--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The first one's seed."
)
@click.option("--seed", type=click.IntRange(0), help="Run this seed alone.")
@click.option("--trace", is_flag=True, help="Tell all that happens in it, a line an event.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes; as many as there are cores, if not said."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print what it showed as one JSON object, the last line."
)
def command(
    peers: int,
    rounds: int,
    byzantine: int,
    committee: int,
    seeds: int,
    first_seed: int,
    seed: int | None,
    trace: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Run whole nodes in a made-up world in which everything goes wrong, and check what must hold.

    Exits with 0 when it held in every seed, and with 1 when it did not.
    """
    setup = _setup(peers, rounds, byzantine, committee)
    if trace and seed is None:
        refuse("a trace is of one seed: add --seed S")
    summary, started = Summary(), time.monotonic()
    if seed is not None:
        summary.add(run_seed(setup, seed, click.echo if trace else None))
        first_seed = seed
    else:
        _run(setup, range(first_seed, first_seed + seeds), jobs or os.cpu_count() or 1, summary)
    seconds = time.monotonic() - started
    for broken in summary.broken[:MAX_SHOWN]:
        _show(setup, broken)
    if as_json:
        click.echo(json.dumps(facts(setup, first_seed, summary, seconds)))
    else:
        click.echo(words(summary, seconds))
    if summary.broken:
        sys.exit(FAILED)


def _setup(peers: int, rounds: int, byzantine: int, committee: int) -> Setup:
    if 2 * byzantine >= peers and byzantine:
        refuse(f"{byzantine} of {peers} are half or more: nothing holds then; ask for fewer")
    if 0 < committee < 21:
        refuse("a committee has at least 21 members, or is 0: everybody")
    return Setup(peers, rounds, byzantine, committee)


def _run(setup: Setup, seeds: range, jobs: int, summary: Summary) -> None:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("simulating", total=len(seeds))
        for result in run_seeds(setup, seeds, min(jobs, len(seeds))):
            summary.add(result)
            progress.advance(task)


def replay(setup: Setup, seed: int) -> str:
    """The command that shows a seed again."""
    options = f"--peers {setup.peers} --rounds {setup.rounds} --byzantine {setup.byzantine}"
    if setup.committee:
        options += f" --committee {setup.committee}"
    return f"roundabout simulate {options} --seed {seed} --trace"


def _show(setup: Setup, broken: Broken) -> None:
    when = broken.at / 1_000_000_000
    click.echo(f"seed {broken.seed}: {broken.invariant}: {broken.detail} (at {when:.3f} s)", err=True)
    click.echo(f"  {replay(setup, broken.seed)}", err=True)


def facts(setup: Setup, first_seed: int, summary: Summary, seconds: float) -> dict[str, Any]:
    """All that a campaign showed, in plain types."""
    return {
        "peers": setup.peers,
        "rounds_each": setup.rounds,
        "byzantine": setup.byzantine,
        "committee": setup.committee,
        "first_seed": first_seed,
        "seeds": summary.seeds,
        "rounds": summary.rounds,
        "endings": dict(sorted(summary.endings.items())),
        "faults": dict(sorted(summary.faults.items())),
        "violations": [
            {
                "seed": broken.seed,
                "invariant": broken.invariant,
                "detail": broken.detail,
                "at_ns": broken.at,
                "replay": replay(setup, broken.seed),
            }
            for broken in summary.broken
        ],
        "seconds": round(seconds, 3),
        "seeds_per_second": round(summary.seeds / max(seconds, 1e-9), 3),
    }


def words(summary: Summary, seconds: float) -> str:
    """What a campaign showed, for people."""
    endings = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.endings.items()))
    faults = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.faults.items()))
    broken = len(summary.broken)
    verdict = f"{broken:,} seeds broke an invariant" if broken else "every invariant held"
    return "\n".join(
        [
            f"{summary.seeds:,} seeds, {summary.rounds:,} rounds ({endings or 'none ended'})",
            f"injected: {faults or 'nothing'}",
            f"{verdict}; {seconds:.1f} s, {summary.seeds / max(seconds, 1e-9):.1f} seeds/s",
        ]
    )
