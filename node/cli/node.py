"""`roundabout node`: one participant's daemon."""

from pathlib import Path

import anyio
import click

from node.cli.exits import one_line
from node.cli.spending import load_to_spend, mainnet_option
from node.config import Config, ConfigError, load_config


@click.command("node")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The node's TOML file.")
@mainnet_option
def command(config: Path, mainnet: bool) -> None:
    """Take part in a run until SIGTERM or Ctrl-C.

    Exits 2 with one line when it cannot take part, 1 when the topic's history does not chain.
    """
    with one_line(ConfigError):
        settings = load_to_spend(load_config, config, mainnet)
    take_part(settings)


def take_part(settings: Config) -> None:
    """Run the daemon; what it needs is imported only once the configuration is known to be one."""
    from learners.learner import LearnerError
    from ledger.topic import HistoryBroken, LedgerError
    from node.admission import RunError
    from node.daemon import run_node
    from node.history import HistoryError
    from node.home import NodeError
    from node.identity import IdentityError
    from node.journal import JournalError
    from node.logs import set_up_logging
    from node.net.wire.host import WireError

    known = (
        ConfigError,
        HistoryError,
        IdentityError,
        JournalError,
        LearnerError,
        LedgerError,
        NodeError,
        RunError,
        WireError,
    )
    with one_line(*known, failed=HistoryBroken):
        set_up_logging(settings.log.level, settings.log.format)
        anyio.run(run_node, settings, backend="trio")
