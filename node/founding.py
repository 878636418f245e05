"""Founding a run: its treasury, its topic, the genesis record, and money for the pool (SPEC.md, begin)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from pydantic import ValidationError

from ledger.hedera import MAX_BODY, Hedera
from ledger.treasury import create_treasury
from node.config import ConfigError, LedgerAccess, read_toml
from node.means import LearnerPort
from node.progress import Progress
from protocol.deposits import deposit_memo
from protocol.errors import shown
from protocol.fields import canonical, canonical_json
from protocol.ids import NOTHING, AccountId, Digest, Tinybar, TopicId, digest_of
from protocol.messages import first_error
from protocol.params import LearnerRef, Params
from protocol.payments import FundRecord
from protocol.records import Genesis, Member, TreasuryEntry
from protocol.transfers import SharedKey, TransactionId

OF_THE_LEARNER = frozenset({"learner", "initial"})
"""Parameters that nobody sets by hand."""
LONGEST_TOPIC = TopicId(f"0.0.{2**63 - 1}")
LONGEST_ACCOUNT = AccountId(LONGEST_TOPIC)


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
    table = read_toml(path, "compare it with configs/driving.toml")
    unknown = set(table) - {"learner", "params"}
    if unknown:
        raise ConfigError(
            f"{path}: unknown key {shown(sorted(unknown)[0], 80)}: remove it or mend its spelling"
        )
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
        params = Params(learner=ref, initial=Digest(initial), **given)
    except ValidationError as error:
        raise ConfigError(f"{_complaint(error)}; see docs/parameters.md") from None
    if params.contribution_window and not learner.merges:
        raise ConfigError(
            f"the learner {spec.name} cannot merge updates: set params.contribution_window to 0"
        )
    return params


@dataclass(frozen=True, slots=True)
class Terms:
    """What a founder decides beside the rules: where the money is, and who writes."""

    required: int | None = None
    """How many members sign for the treasury; None: no treasury."""
    fund: Tinybar = NOTHING
    """What the founder puts into the pool."""
    anyone_writes: bool = False
    """Whether the topic is open to all, instead of to the members of the genesis."""


@dataclass(frozen=True, slots=True)
class Founded:
    """A run that was founded."""

    topic: TopicId
    run: Digest
    treasury: AccountId | None


async def found_run(
    hedera: Hedera,
    params: Params,
    roster: Sequence[Member],
    memo: str,
    terms: Terms = Terms(),
    progress: Progress | None = None,
) -> Founded:
    """Make the treasury and the topic, write the genesis, and fund the pool; what was done before is not repeated.

    Raises ConfigError before anything is paid for, and LedgerError.
    """
    check_genesis(params, roster, terms)
    done = Progress(None) if progress is None else progress
    keys = tuple(member.key for member in roster)
    treasury, topic = done.treasury, done.topic
    if terms.required is not None and treasury is None:
        treasury = await create_treasury(hedera, SharedKey(terms.required, keys), "roundabout treasury")
        done.note(treasury=treasury)
    if topic is None:
        topic = await hedera.create_topic(memo, () if terms.anyone_writes else keys)
        done.note(topic=topic)
    genesis = genesis_of(topic, params, roster, terms, treasury)
    await hedera.topic(topic).submit(canonical(genesis), key=f"genesis {genesis.run()}")
    if treasury is not None and terms.fund:
        await fund_pool(hedera, topic, genesis.run(), treasury, terms.fund)
    return Founded(topic, genesis.run(), treasury)


async def fund_pool(
    hedera: Hedera, topic: TopicId, run: Digest, treasury: AccountId, amount: Tinybar
) -> None:
    """Put the founder's money into the pool, once a run. Raises LedgerError."""
    memo = deposit_memo(run, "fund", hedera.account)
    paid = await hedera.transfer(treasury, amount, memo, key=f"fund {run}")
    record = FundRecord(run=run, account=hedera.account, amount=amount, transaction=TransactionId(paid))
    await hedera.topic(topic).submit(canonical(record), key=f"fund record {run}")


def genesis_of(
    topic: TopicId, params: Params, roster: Sequence[Member], terms: Terms, treasury: AccountId | None
) -> Genesis:
    """The genesis record. Raises ValidationError."""
    entry = None
    if terms.required is not None and treasury is not None:
        entry = TreasuryEntry(account=treasury, required=terms.required)
    return Genesis(topic=topic, params=params, roster=tuple(roster), treasury=entry)


def check_genesis(params: Params, roster: Sequence[Member], terms: Terms) -> Genesis:
    """Make sure that a genesis can be written on whatever topic; such a one. Raises ConfigError."""
    if terms.fund and terms.required is None:
        raise ConfigError("without a treasury there is no pool to fund: remove treasury.fund, or enable it")
    try:
        genesis = genesis_of(LONGEST_TOPIC, params, roster, terms, LONGEST_ACCOUNT)
    except ValidationError as error:
        cause = first_error(error)
        raise ConfigError(
            f"this makes no genesis: {cause}; correct [[members]], [params] or [treasury]"
        ) from None
    size = len(canonical(genesis))
    if size > MAX_BODY:
        raise ConfigError(f"a genesis of {size} bytes; a topic takes {MAX_BODY}: found it with fewer members")
    return genesis


def founding_digest(genesis: Genesis, access: LedgerAccess, terms: Terms) -> Digest:
    """What makes two foundings the same: all that costs money, or ends up in the genesis or on the topic.

    genesis: as it would be on whatever topic.
    """
    body = {
        "genesis": genesis.model_dump(mode="json"),
        "network": access.network,
        "account": access.account,
        "fund": str(terms.fund),
        "anyone_writes": terms.anyone_writes,
    }
    return digest_of(canonical_json(body))


def _complaint(error: ValidationError) -> str:
    """What is wrong with parameters: with one of them, or with several together."""
    text = first_error(error)
    if error.errors()[0]["loc"]:
        return f"the key params.{text}"
    return f"[params] cannot be: {text.removeprefix('Value error, ')}"
