"""`python -m ledger.localnet --dir DIR [--any-port]`: the localnet by itself, until SIGTERM or SIGINT."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click

from ledger.localnet.description import DESCRIPTION
from ledger.localnet.errors import LocalnetError
from ledger.localnet.serve import Ports, serve


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--any-port", is_flag=True, help="Take free ports in place of the SDKs' local presets.")
def main(directory: Path, any_port: bool) -> None:
    """Run an embedded Hedera network whose ledger lives in a directory."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        asyncio.run(_until_stopped(directory, Ports.ephemeral() if any_port else Ports()))
    except LocalnetError as fault:
        click.echo(f"localnet: {fault}", err=True)
        sys.exit(2)


async def _until_stopped(directory: Path, ports: Ports) -> None:
    def report() -> None:
        click.echo(f"serving; {directory / DESCRIPTION} says where")

    task = asyncio.create_task(serve(directory, ports, ready=report))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    main()
