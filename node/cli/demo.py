"""`roundabout demo`: a whole run on this machine."""

import sys
from functools import partial
from pathlib import Path

import anyio
import click
from rich.console import Console

from node.cli.exits import FAILED, INTERRUPTED, one_line
from node.presets import preset_file


@click.command("demo")
@click.option(
    "--peers", type=click.IntRange(2, 50), default=5, show_default=True, help="How many daemons take part."
)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=12, show_default=True, help="Rounds until the run ends."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=True,
    help="Seed of the peers' private data.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="out",
    show_default=True,
    help="Directory of results, logs and data; a demo's is replaced.",
)
def command(peers: int, rounds: int, seed: int, out: Path) -> None:
    """Run an embedded Hedera network and several daemons on this machine, and audit what they did.

    Each peer has private tracks of its own family, contributes to each round, and votes on the others' proposals.
    Afterwards OUT holds audit.json, summary.json, topic.json (for `roundabout audit --pages`), rounds.png, and
    each process's log. While it runs OUT/processes.json says who is who.

    Exits 0 when the audit holds, 1 when it does not, 2 when the demo could not be run.
    """
    from learners.learner import LearnerError
    from ledger.topic import LedgerError
    from node.config import ConfigError
    from node.demo.layout import DemoError
    from node.demo.run import run_demo
    from node.demo.session import Options

    console = Console(stderr=False)
    with one_line(DemoError, LedgerError, LearnerError, ConfigError):
        options = Options(peers, rounds, seed, out, preset_file("demo"))
        holds = anyio.run(partial(run_demo, options, console))
    if holds is None:
        console.print("stopped; no process is left behind")
        sys.exit(INTERRUPTED)
    if not holds:
        sys.exit(FAILED)
