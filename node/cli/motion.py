"""`roundabout motion`: who joins, who leaves, and by which rules the others go on."""

from pathlib import Path
from typing import Any

import click

from node.cli.acting import (
    Void,
    acting,
    config_option,
    consulted,
    json_option,
    loaded,
    perform,
    put_on_topic,
    reading,
    written,
)
from node.cli.coming import join_command, leave_command
from node.cli.drafting import end_command, params_command, rotate_command, upgrade_command
from node.cli.exits import FAILED
from node.cli.rotation import put_rotation_on_topic
from node.cli.spending import mainnet_option
from node.config import Config
from node.home import load_identity
from node.motions.files import MotionError, read_motion
from node.motions.standing import counted, signed_by, standing
from node.motions.words import standing_words, words_of
from protocol.motions import RotateRecord

file_argument = click.argument("motion", type=click.Path(path_type=Path), metavar="FILE")


@click.group("motion", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Join, leave, change the rules or the learner, end the run.

    A motion is a file. Who drafts it passes it on, each member reads it with `show` and signs it with `sign`,
    and whoever has the last signature puts it on the topic with `submit`.
    """


for _each in (join_command, leave_command, params_command, upgrade_command, end_command, rotate_command):
    command.add_command(_each)


@command.command("show")
@config_option
@file_argument
@json_option
def show_command(file: Path, motion: Path, as_json: bool) -> None:
    """Say what a motion would do, who has signed it, and what is wrong with it.

    Exits 1 where it would have no effect even were all to sign it.
    """
    told = perform(show, consulted(file), motion, as_json=as_json)
    if told["objection"] is not None:
        raise SystemExit(FAILED)


async def show(config: Config, file: Path) -> dict[str, Any]:
    """Say how a motion stands."""
    record = read_motion(file)
    async with reading(config) as read:
        how = await standing(read, record)
        lines = [*words_of(read.run, record), *standing_words(read.run, how)]
        return {
            "op": record.op,
            "signed": list(how.signed),
            "needed": how.needed,
            "void": list(how.void),
            "objection": how.objection,
            "ready": how.is_ready,
            "lines": lines,
        }


@command.command("sign")
@config_option
@file_argument
@json_option
def sign_command(file: Path, motion: Path, as_json: bool) -> None:
    """Show a motion, and add our signature to its file; what would have no effect is not signed."""
    perform(sign, consulted(file), motion, as_json=as_json)


async def sign(config: Config, file: Path) -> dict[str, Any]:
    """Sign a motion that makes sense, and write it back."""
    record, identity = read_motion(file), load_identity(config)
    async with reading(config) as read:
        how = await standing(read, record)
        if how.objection is not None:
            raise Void(f"not signed: it would have no effect: {how.objection}")
        try:
            signed = signed_by(read.run, counted(read.run, record), identity)
        except MotionError as error:
            raise Void(f"not signed: {error}") from None
        return {"op": record.op} | await written(read, signed, file)


@command.command("submit")
@config_option
@file_argument
@mainnet_option
@json_option
def submit_command(file: Path, motion: Path, mainnet: bool, as_json: bool) -> None:
    """Put a motion on the topic, once it would take effect, and wait until it has.

    New keys for the treasury wait until the settlement that is open is over. Exits 1 with the reason where it
    would have, or had, no effect.
    """
    perform(submit, loaded(file, mainnet), motion, as_json=as_json)


async def submit(config: Config, file: Path) -> dict[str, Any]:
    """Put a motion on the topic, without signatures that would make it invalid."""
    record = read_motion(file)
    async with acting(config) as act:
        record = counted(act.run, record)
        if isinstance(record, RotateRecord):
            sequence = await put_rotation_on_topic(act, record)
        else:
            sequence = await put_on_topic(act, record)
        return {"op": record.op, "sequence": sequence, "lines": [f"took effect with message {sequence}"]}
