"""`roundabout found`: a topic and a genesis record on it."""

import tempfile
from pathlib import Path

import anyio
import click

from node.cli.exits import one_line
from node.cli.spending import load_to_spend, mainnet_option
from node.config import ConfigError, FoundingConfig, load_founding
from node.presets import preset_file
from protocol.ids import Digest, TopicId
from protocol.records import Member


@click.command("found")
@click.argument("file", type=click.Path(path_type=Path))
@mainnet_option
def command(file: Path, mainnet: bool) -> None:
    """Found the run that FILE describes, and print its topic and its run.

    FILE is TOML: the members with their peer ids and accounts, the ledger, and parameters that differ from the
    preset's; see docs/founding.md. It costs the price of one topic and one message.
    """
    with one_line(ConfigError):
        config = load_to_spend(load_founding, file, mainnet)
        preset = preset_file(config.preset)
    topic, run = found(config, preset)
    click.echo(f"topic {topic}\nrun {run}")


def found(config: FoundingConfig, preset: Path) -> tuple[TopicId, Digest]:
    """Found the run, or say in one line why not; what that needs is imported only now."""
    from learners.learner import LearnerError
    from ledger.topic import LedgerError

    with one_line(ConfigError, LearnerError, LedgerError):
        return anyio.run(write_genesis, config, preset)


async def write_genesis(config: FoundingConfig, file: Path) -> tuple[TopicId, Digest]:
    """Make the topic and write the genesis."""
    from learners.client import open_learner
    from node.founding import found_run, load_preset, params_of
    from node.networks import account_key, open_account

    preset = load_preset(file)
    roster = [Member(peer=member.peer, account=member.account) for member in config.members]
    key = account_key(config.ledger, None)
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        runtime = Path(scratch)
        async with open_learner(preset.learner, preset.options, runtime / "data", runtime) as learner:
            params = await params_of(preset, learner, runtime, config.params)
        async with open_account(config.ledger, key) as hedera:
            return await found_run(hedera, params, roster, config.memo)
