"""`roundabout found`: a topic and a genesis record on it."""

import tempfile
from pathlib import Path

import anyio
import click

from learners.client import open_learner
from learners.learner import LearnerError
from ledger.hedera import open_hedera
from ledger.topic import LedgerError
from node.cli.exits import one_line
from node.config import ConfigError, FoundingConfig, load_founding
from node.founding import found_run, load_preset, params_of
from node.networks import account_key, network_of
from node.presets import preset_file
from protocol.ids import Digest, TopicId
from protocol.records import Member


@click.command("found")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Found the run that FILE describes, and print its topic and its run.

    FILE is TOML: the members with their peer ids and accounts, the ledger, and parameters that differ from the
    preset's; see docs/founding.md. It costs the price of one topic and one message.
    """
    with one_line(ConfigError, LearnerError, LedgerError):
        topic, run = anyio.run(found, load_founding(file))
    click.echo(f"topic {topic}\nrun {run}")


async def found(config: FoundingConfig) -> tuple[TopicId, Digest]:
    """Make the topic and write the genesis."""
    preset = load_preset(preset_file(config.preset))
    roster = [Member(peer=member.peer, account=member.account) for member in config.members]
    access = config.ledger
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        runtime = Path(scratch)
        async with open_learner(preset.learner, preset.options, runtime / "data", runtime) as learner:
            params = await params_of(preset, learner, runtime, config.params)
        async with open_hedera(network_of(access), access.account, account_key(access, None)) as hedera:
            return await found_run(hedera, params, roster, config.memo)
