"""`python -m ledger.localnet --dir DIR`: the localnet by itself, until SIGTERM or SIGINT."""

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TextIO

import click

from ledger.localnet.behaviour import MILLISECOND_NS, Behaviour, Outage
from ledger.localnet.description import DESCRIPTION
from ledger.localnet.errors import LocalnetError
from ledger.localnet.fees import MAX_LIST_BYTES
from ledger.localnet.serve import Ports, serve
from ledger.localnet.state import NODES


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--any-port", is_flag=True, help="Take free ports in place of the SDKs' local presets.")
@click.option(
    "--nodes",
    type=click.IntRange(1, len(NODES)),
    default=1,
    show_default=True,
    help="Consensus nodes, from 0.0.3 on, each on a port of its own; one sequencer orders for all.",
)
@click.option(
    "--finality-ms",
    type=click.IntRange(0, 600_000),
    default=0,
    help="From a node's acceptance to consensus; a receipt says UNKNOWN until then.",
)
@click.option(
    "--busy-ppm",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="How many of a million transactions are answered with BUSY.",
)
@click.option(
    "--mirror-lag-ms",
    type=click.IntRange(0, 600_000),
    default=0,
    help="From consensus to when the mirror shows it.",
)
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="NODE:FROM-TO",
    help="Seconds after the start during which a node does not answer, e.g. 0.0.4:10-20; may be repeated.",
)
@click.option(
    "--fees",
    type=click.File("r"),
    help="The prices of a new ledger, TOML like the package's fees.toml; a ledger keeps those it began with.",
)
@click.option("--seed", type=int, default=0, help="Decides which transactions meet a busy node.")
def main(
    directory: Path,
    any_port: bool,
    nodes: int,
    finality_ms: int,
    busy_ppm: int,
    mirror_lag_ms: int,
    outages: tuple[str, ...],
    seed: int,
    fees: TextIO | None,
) -> None:
    """Run an embedded Hedera network whose ledger lives in a directory.

    One sequencer orders every transaction, and whoever has the directory can change what it says: it is for
    development and tests, and no public network.
    """
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        behaviour = Behaviour(
            finality_ns=finality_ms * MILLISECOND_NS,
            busy_ppm=busy_ppm,
            mirror_lag_ns=mirror_lag_ms * MILLISECOND_NS,
            outages=tuple(Outage.parse(text) for text in outages),
            seed=seed,
        )
        ports = Ports.ephemeral(nodes) if any_port else Ports.preset(nodes)
        asyncio.run(
            _until_stopped(directory, ports, behaviour, None if fees is None else fees.read(MAX_LIST_BYTES))
        )
    except LocalnetError as fault:
        click.echo(f"localnet: {fault}", err=True)
        sys.exit(2)


async def _until_stopped(directory: Path, ports: Ports, behaviour: Behaviour, prices: str | None) -> None:
    def report() -> None:
        gc.freeze()  # what was loaded by now stays, and need not be looked through again
        click.echo(
            f"serving on 127.0.0.1; {directory / DESCRIPTION} says where; one sequencer, not a public network"
        )

    task = asyncio.create_task(serve(directory, ports, behaviour=behaviour, prices=prices, ready=report))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    main()
