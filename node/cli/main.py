"""The command itself: finds subcommands lazily, so that `--help` and `audit` need no torch, libp2p or SDK."""

import importlib
import sys
from typing import Any, NoReturn

import click

from node.cli.exits import INTERRUPTED, refuse

COMMANDS = {
    "audit": "Check a run from its topic alone.",
    "balance": "Show where the money of a run is, and of it ours.",
    "cost": "Estimate what a run costs on Hedera.",
    "data": "Import recordings into a private dataset, look at one, see its split.",
    "demo": "Run a network and several daemons on this machine, and audit what they did.",
    "doctor": "Look at all that a node needs, and say what to do.",
    "found": "Found a run: create its topic and write the genesis record.",
    "fund": "Put money into a run's pool.",
    "identity": "Make, or show, a participant's key file.",
    "localnet": "Run an embedded Hedera network.",
    "motion": "Join, leave, change the rules, end the run: draft, show, sign, submit.",
    "node": "Take part in a run.",
    "replay": "Do again what a peer did in a run, and compare.",
    "simulate": "Try many nodes under virtual time with everything that goes wrong.",
    "status": "Show how a running daemon stands.",
    "topup": "Put more money at stake.",
}
OURS = ("learners", "ledger", "node", "protocol")


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"node.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line; whatever click has to say against it is one line and exit status 2."""
        try:
            status = super().main(*args, **(extra | {"standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "roundabout"
            refuse(f"{error.format_message().rstrip('.')}; see `{command} --help`")
        except click.Abort:
            sys.exit(INTERRUPTED)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] in OURS:
                raise
            refuse(
                f"this command needs the package {error.name}; "
                "install the extra that has it: pip install 'roundabout-learning[demo]'"
            )
        sys.exit(status if isinstance(status, int) else 0)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="roundabout-learning", prog_name="roundabout")
def main() -> None:
    """Roundabout: learn together without sharing data, and let anybody audit it."""
