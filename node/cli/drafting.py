"""`roundabout motion params`, `upgrade`, `end` and `rotate`: drafts for other members to sign."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from node.cli.acting import config_option, consulted, json_option, perform, reading, written
from node.config import Config
from node.home import load_identity
from node.motions.drafts import draft_end, draft_params, draft_rotate, draft_upgrade
from node.motions.files import Motion, Signable
from node.motions.standing import entitled, signed_by
from protocol.state import RunState

Draft = Callable[[RunState], Signable]

to_file = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where to write the motion."
)


def begin(draft: Draft, file: Path, out: Path, as_json: bool) -> None:
    """Draft a motion of the members', with our signature on it where we may sign."""
    perform(drafted, consulted(file), draft, out, as_json=as_json)


async def drafted(config: Config, draft: Draft, out: Path) -> dict[str, Any]:
    """Write a draft to a file, unless it is nonsense."""
    identity = load_identity(config)
    async with reading(config) as read:
        record: Motion = draft(read.run)
        if read.run.place_of(identity.peer) in entitled(read.run, record):
            record = signed_by(read.run, record, identity)
        return {"op": record.op} | await written(read, record, out)


def _changes(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    changes = dict[str, str]()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value or name in changes:
            raise click.BadParameter(f"{pair!r} reads key=value, each key once")
        changes[name] = value
    return changes


@click.command("params")
@config_option
@click.option(
    "--set", "changes", multiple=True, callback=_changes, metavar="KEY=VALUE", help="See docs/parameters.md."
)
@to_file
@json_option
def params_command(file: Path, changes: dict[str, str], out: Path, as_json: bool) -> None:
    """Draft other rules, from the next epoch on; two thirds of the members sign."""
    begin(lambda state: draft_params(state, changes), file, out, as_json)


@click.command("upgrade")
@config_option
@click.option("--learner", required=True, metavar="NAME", help="The learner's registered name.")
@click.option("--spec", required=True, metavar="DIGEST", help="The digest of its public spec.")
@to_file
@json_option
def upgrade_command(file: Path, learner: str, spec: str, out: Path, as_json: bool) -> None:
    """Draft another learner for the same weights; two thirds of the members sign."""
    begin(lambda state: draft_upgrade(state, learner, spec), file, out, as_json)


@click.command("end")
@config_option
@to_file
@json_option
def end_command(file: Path, out: Path, as_json: bool) -> None:
    """Draft the end of the run: everybody is paid, stakes come back; two thirds of the members sign."""
    begin(draft_end, file, out, as_json)


@click.command("rotate")
@config_option
@click.option("--required", type=click.IntRange(1, 1000), metavar="M", help="By default more than half.")
@click.option("--without", multiple=True, metavar="PEER", help="A member whose key is not to be among them.")
@to_file
@json_option
def rotate_command(
    file: Path, required: int | None, without: tuple[str, ...], out: Path, as_json: bool
) -> None:
    """Draft new keys for the treasury, by default those of all members; as many as a payment needs sign."""
    begin(lambda state: draft_rotate(state, required, without), file, out, as_json)
