"""`roundabout localnet`: an embedded Hedera network."""

from pathlib import Path

import click


@click.command("localnet")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where its journal, its operator key and localnet.json are kept; the same directory goes on.",
)
@click.option(
    "--any-port", is_flag=True, help="Take free ports instead of those the SDKs' local presets expect."
)
def command(directory: Path, any_port: bool) -> None:
    """Run an embedded Hedera network: consensus gRPC, mirror gRPC and mirror REST on 127.0.0.1.

    DIR/localnet.json says the ports and the operator account, once it is serving. One sequencer is not a public
    network: it orders and timestamps honestly only if you run it.
    """
    from ledger.localnet.__main__ import run

    run(directory, any_port)
