"""`roundabout found`: a treasury, a topic, and a genesis record on it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from node.amounts import hbar
from node.cli.exits import one_line, tell
from node.cli.spending import load_to_spend, mainnet_option
from node.config import ConfigError, FoundingConfig, load_founding
from node.presets import preset_file
from protocol.records import Member

if TYPE_CHECKING:  # which need the SDK, and that only once the file is known to be right
    from node.founding import Founded, Terms
    from protocol.params import Params


@click.command("found")
@click.argument("file", type=click.Path(path_type=Path))
@mainnet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, mainnet: bool, as_json: bool) -> None:
    """Found the run that FILE describes, and print its topic and its run.

    FILE is TOML: the members with their peer ids and accounts, the ledger, and parameters that differ from the
    preset's; see docs/founding.md. It costs the price of an account, a topic, a message, and what is put into
    the pool. What was done is kept in FILE.founding: repeated, also after a crash, the command goes on with the
    same run.
    """
    with one_line(ConfigError):
        config = load_to_spend(load_founding, file, mainnet)
        preset = preset_file(config.preset)
    run = found(config, preset, file.with_name(f"{file.name}.founding"))
    lines = [f"topic {run.topic}", f"run {run.run}"]
    fund = config.treasury.fund
    if run.treasury is not None:
        lines += [f"treasury {run.treasury}", f"pool {hbar(fund)}"]
    told = {"topic": run.topic, "run": run.run, "treasury": run.treasury, "fund": fund, "lines": lines}
    tell(told, as_json)


def found(config: FoundingConfig, preset: Path, home: Path) -> "Founded":
    """Found the run, or say in one line why not; what that needs is imported only now."""
    from learners.learner import LearnerError
    from ledger.topic import LedgerError
    from node.home import NodeError

    with one_line(ConfigError, LearnerError, LedgerError, NodeError):
        return anyio.run(write_genesis, config, preset, home)


async def write_genesis(config: FoundingConfig, file: Path, home: Path) -> "Founded":
    """Make treasury and topic, write the genesis, and fund the pool; home keeps what was done."""
    from learners.client import open_learner
    from ledger.outbox import UNLIMITED, Outbox
    from node.founding import check_genesis, found_run, founding_digest, load_preset, params_of
    from node.home import held
    from node.networks import account_key, open_account
    from node.progress import open_progress

    preset = load_preset(file)
    roster = [Member(peer=member.peer, account=member.account) for member in config.members]
    key = account_key(config.ledger, None)
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        runtime = Path(scratch)
        async with open_learner(preset.learner, preset.options, runtime / "data", runtime) as learner:
            params = await params_of(preset, learner, runtime, config.params)
    terms = terms_of(config, params)
    genesis = check_genesis(params, roster, terms)
    with held(home, "founding", "wait until it has ended"):
        progress = open_progress(home / "progress.json", founding_digest(genesis, config.ledger, terms))
        with Outbox.open(home / "outbox.db", UNLIMITED) as outbox:
            async with open_account(config.ledger, key, outbox) as hedera:
                return await found_run(hedera, params, roster, config.memo, terms, progress)


def terms_of(config: FoundingConfig, params: "Params") -> "Terms":
    """The terms that a founding's file asks for, with what it leaves out."""
    from node.founding import Terms
    from protocol.ids import Tinybar

    section, writers = config.treasury, config.writers
    half = len(config.members) // 2 + 1
    return Terms(
        required=(half if section.required is None else section.required) if section.enabled else None,
        fund=Tinybar(section.fund),
        anyone_writes=params.admission == "open" if writers is None else writers == "anyone",
    )
