"""What commands that act on a run have in common: our account, our key, the run as it is now, and the topic."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click

from ledger.hedera import Hedera
from ledger.mirror import Mirror
from ledger.outbox import UNLIMITED, Outbox
from ledger.topic import HistoryBroken, LedgerError
from node.amounts import tinybar_of
from node.cli.exits import FAILED, one_line, refuse, tell
from node.cli.spending import load_to_spend
from node.config import Config, ConfigError, load_config
from node.home import NodeError, held, load_identity
from node.identity import Identity, IdentityError
from node.motions.files import Motion, MotionError, write_motion
from node.motions.standing import standing
from node.motions.words import standing_words, words_of
from node.networks import account_key, network_of, open_account
from node.reading import Reading
from protocol.errors import ProtocolError
from protocol.fields import canonical
from protocol.ids import NOTHING, Tinybar
from protocol.parse import Record
from protocol.state import RunState

KNOWN = (ConfigError, IdentityError, LedgerError, MotionError, NodeError)
"""What ends a command with one line."""
COMMANDS = "commands"
"""Where in the data directory the commands keep their own outbox: the daemon's is the daemon's."""


@dataclass(frozen=True, slots=True)
class Acting:
    """What a command acts with."""

    config: Config
    identity: Identity
    hedera: Hedera
    reading: Reading

    @property
    def run(self) -> RunState:
        """The run as it was last read."""
        return self.reading.run


@asynccontextmanager
async def acting(config: Config) -> AsyncIterator[Acting]:
    """Our account and the run that a configuration names, read to its present end. Raises what KNOWN holds.

    What a person asks for is not held to the daemon's spend limit, which is for what nobody watches.
    """
    identity = load_identity(config)
    home = config.data / COMMANDS
    with (
        held(home, "command", "wait until it has ended"),
        Outbox.open(home / "outbox.db", UNLIMITED) as outbox,
    ):
        key = account_key(config.ledger, identity)
        async with open_account(config.ledger, key, outbox) as hedera:
            reading = Reading(hedera.mirror, config.ledger.topic)
            await reading.catch_up()
            yield Acting(config, identity, hedera, reading)


@asynccontextmanager
async def reading(config: Config) -> AsyncIterator[Reading]:
    """The run that a configuration names, read to its present end; nothing is sent. Raises what KNOWN holds."""
    async with Mirror(network_of(config.ledger).mirror_rest) as mirror:
        read = Reading(mirror, config.ledger.topic)
        await read.catch_up()
        yield read


def perform(
    act: Callable[..., Coroutine[Any, Any, dict[str, Any]]], *arguments: object, as_json: bool
) -> dict[str, Any]:
    """Run what a command does, and print what it says; what has no effect ends it with exit status 1."""
    with one_line(*KNOWN, failed=HistoryBroken):
        try:
            told = anyio.run(act, *arguments)
        except Void as void:
            refuse(str(void), FAILED)
    tell(told, as_json)
    return told


class Void(Exception):
    """What was asked for would have, or had, no effect on the run."""


async def check_may_write(act: Acting) -> None:
    """Make sure that our account can write to the topic, before anything is paid for it. Raises LedgerError."""
    topic = act.reading.topic
    key = (await act.hedera.mirror.topic_info(topic)).submit_key
    # In whatever form the network keeps the key: where ours is nowhere in it, we cannot sign for it.
    if key is not None and act.hedera.session.public.to_bytes_raw() not in bytes.fromhex(key.key):
        raise LedgerError(
            f"{act.hedera.account} may not write to topic {topic}; give --out FILE, and have a member put "
            "that on the topic with `roundabout motion submit FILE`"
        )


async def put_on_topic(act: Acting, record: Record) -> int:
    """Put a record on the topic, unless it is there and took effect; its sequence number once it took effect.

    Raises Void when it has no effect, LedgerError.
    """
    body = canonical(record)
    await act.reading.catch_up()
    fate = act.reading.fate(body)
    if fate is None or fate.reason is not None:
        try:
            await act.reading.dry_run(record)
        except ProtocolError as error:
            void(record, str(error))
        await act.hedera.submit(act.reading.topic, body)
        fate = await act.reading.wait_for(body, after=0 if fate is None else fate.sequence)
    if fate.reason is not None:
        void(record, fate.reason)
    return fate.sequence


def void(record: Record, reason: str) -> NoReturn:
    """Say that a record would have no effect. Raises Void."""
    raise Void(f"the {record.op} has no effect: {reason}")


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--config`."""
    return click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        required=True,
        help="The node's TOML file: whose key, which account, which run.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flag `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


class Hbar(click.ParamType[Tinybar]):
    """An amount of hbar on the command line, exact."""

    name = "hbar"

    def __init__(self, may_be_nothing: bool = False) -> None:
        self._may_be_nothing = may_be_nothing

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Tinybar:
        """The tinybar that it stands for."""
        if self._may_be_nothing and value == "0":
            return NOTHING
        try:
            return tinybar_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


async def hand_in(act: Acting, record: Motion, out: Path | None) -> dict[str, Any]:
    """Put a record on the topic, or into a file for somebody else to; what there is to say of it."""
    if out is not None:
        write_motion(out, record)
        line = f"written to {out}; put it on the topic with `roundabout motion submit {out}`"
        return {"file": str(out), "sequence": None, "lines": [line]}
    sequence = await put_on_topic(act, record)
    return {"file": None, "sequence": sequence, "lines": [f"took effect with message {sequence}"]}


async def written(reading: Reading, record: Motion, out: Path) -> dict[str, Any]:
    """Write a motion to a file, and say what it says. Raises MotionError where it would be of no effect."""
    how = await standing(reading, record)
    if how.objection is not None:
        raise MotionError(f"such a {record.op} would have no effect: {how.objection}")
    write_motion(out, record)
    then = f"written to {out}"
    missing = how.needed - len(how.signed)
    if missing > 0:
        then += f"; {missing} more must sign it: `roundabout motion sign {out}`"
    else:
        then += f"; put it on the topic: `roundabout motion submit {out}`"
    lines = [*words_of(reading.run, record), *standing_words(reading.run, how), then]
    return {"file": str(out), "signed": list(how.signed), "needed": how.needed, "lines": lines}


def loaded(file: Path, mainnet: bool) -> Config:
    """The configuration of a command that spends; else one line and the end."""
    with one_line(*KNOWN):
        return load_to_spend(load_config, file, mainnet)


def consulted(file: Path) -> Config:
    """The configuration of a command that only reads, on whatever network; else one line and the end."""
    with one_line(*KNOWN):
        return load_config(file)
