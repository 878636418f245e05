"""`roundabout node`: one participant's daemon."""

from pathlib import Path

import anyio
import click

from learners.learner import LearnerError
from ledger.topic import HistoryBroken, LedgerError
from node.cli.exits import one_line
from node.config import ConfigError, load_config
from node.daemon import NodeError, run_node
from node.driver import RunError
from node.identity import IdentityError
from node.journal import JournalError
from node.logs import set_up_logging
from node.wire import WireError


@click.command("node")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The node's TOML file.")
def command(config: Path) -> None:
    """Take part in a run until SIGTERM or Ctrl-C.

    Exits 2 with one line when it cannot take part, 1 when the topic's history does not chain.
    """
    known = (
        ConfigError,
        IdentityError,
        JournalError,
        LearnerError,
        LedgerError,
        NodeError,
        RunError,
        WireError,
    )
    with one_line(*known, failed=HistoryBroken):
        settings = load_config(config)
        set_up_logging(settings.log.level, settings.log.format)
        anyio.run(run_node, settings, backend="trio")
