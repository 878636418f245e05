"""The command itself: finds subcommands lazily, so that `--help` and `audit` need no torch, libp2p or SDK."""

import importlib

import click

COMMANDS = {
    "audit": "Check a run from its topic alone.",
    "cost": "Estimate what a run costs on Hedera.",
    "demo": "Run a network and several daemons on this machine, and audit what they did.",
    "found": "Found a run: create its topic and write the genesis record.",
    "identity": "Make, or show, a participant's key file.",
    "localnet": "Run an embedded Hedera network.",
    "node": "Take part in a run.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"node.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "node":
                raise
            raise click.ClickException(
                f"`roundabout {cmd_name}` needs the package {error.name}; "
                "install the extra that has it: pip install 'roundabout-learning[demo]'"
            ) from None
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="roundabout-learning", prog_name="roundabout")
def main() -> None:
    """Roundabout: learn together without sharing data, and let anybody audit it."""
