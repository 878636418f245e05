"""Founding a run: a topic that only its members may write to, and the genesis record on it (SPEC.md, begin)."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from pydantic import ValidationError

from ledger.hedera import MAX_BODY, Hedera
from node.config import ConfigError
from node.means import LearnerPort
from protocol.fields import canonical
from protocol.ids import Digest, TopicId, digest_of
from protocol.messages import first_error
from protocol.params import LearnerRef, Params
from protocol.records import Genesis, Member

OF_THE_LEARNER = frozenset({"learner", "initial"})
"""Parameters that nobody sets by hand."""
LONGEST_TOPIC = TopicId(f"0.0.{2**63 - 1}")


@dataclass(frozen=True, slots=True)
class Preset:
    """The genesis parameters of a kind of run, from a file in configs/."""

    learner: str
    """The registered name of its learner."""
    options: Mapping[str, Any]
    """Options of the learner that its public spec depends on."""
    params: Mapping[str, Any]
    """Fields of protocol.params.Params, without the learner and the initial weights."""


def load_preset(path: Path) -> Preset:
    """Read a preset. Raises ConfigError with one line."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; name a file like configs/driving.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}; compare it with configs/driving.toml") from None
    unknown = set(table) - {"learner", "params"}
    if unknown:
        raise ConfigError(f"{path}: unknown key {sorted(unknown)[0]}: remove it or mend its spelling")
    learner, params = table.get("learner", {}), table.get("params", {})
    name = learner.get("name") if isinstance(learner, dict) else None
    if not isinstance(name, str):
        raise ConfigError(f"{path}: the key learner.name is missing: add it")
    options = learner.get("options", {})
    for key, value in (("learner.options", options), ("params", params)):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: the key {key} is no table; compare it with configs/driving.toml")
    return Preset(name, options, params)


async def params_of(
    preset: Preset, learner: LearnerPort, temporary: Path, changes: Mapping[str, Any]
) -> Params:
    """The params of a preset, with what the learner itself says: its spec, and its initial weights."""
    spec = await learner.describe()
    out = temporary / "initial"
    await learner.initial(out)
    initial = digest_of(await anyio.Path(out).read_bytes())
    await anyio.Path(out).unlink()
    given = {**preset.params, **changes}
    for key in OF_THE_LEARNER & set(given):
        raise ConfigError(f"the key params.{key} is the learner's to say: remove it")
    ref = LearnerRef(name=spec.name, spec=spec.digest())
    try:
        return Params(learner=ref, initial=Digest(initial), **given)
    except ValidationError as error:
        raise ConfigError(f"the key params.{first_error(error)}; see docs/parameters.md") from None


async def found_run(
    hedera: Hedera, params: Params, roster: Sequence[Member], memo: str
) -> tuple[TopicId, Digest]:
    """Make a topic whose submit key any member has, write the genesis, and return the topic and the run.

    Raises ConfigError before anything is paid for, and LedgerError.
    """
    check_genesis(params, roster)
    topic = await hedera.create_topic(memo, [member.key for member in roster])
    genesis = Genesis(topic=topic, params=params, roster=tuple(roster))
    await hedera.topic(topic).submit(canonical(genesis))
    return topic, genesis.run()


def check_genesis(params: Params, roster: Sequence[Member]) -> None:
    """Make sure that a genesis can be written on whatever topic. Raises ConfigError."""
    try:
        genesis = Genesis(topic=LONGEST_TOPIC, params=params, roster=tuple(roster))
    except ValidationError as error:
        raise ConfigError(f"the members make no roster: {first_error(error)}; correct [[members]]") from None
    size = len(canonical(genesis))
    if size > MAX_BODY:
        raise ConfigError(f"a genesis of {size} bytes; a topic takes {MAX_BODY}: found it with fewer members")
