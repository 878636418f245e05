"""`roundabout identity`: make, or show, a participant's key file."""

import os
from pathlib import Path

import click

from node.cli.exits import one_line
from node.identity import IdentityError, create, load


@click.command("identity")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase-env", metavar="NAME", help="The environment variable that holds its passphrase.")
def command(file: Path, passphrase_env: str | None) -> None:
    """Print the peer id of the key in FILE; make the file first when there is none."""
    with one_line(IdentityError):
        passphrase = None
        if passphrase_env is not None:
            passphrase = os.environ.get(passphrase_env)
            if not passphrase:
                raise IdentityError(
                    f"the environment variable {passphrase_env} is empty; set it to the passphrase"
                )
        identity = load(file, passphrase) if file.exists() else create(file, passphrase)
    click.echo(identity.peer)
