"""`roundabout fund`: money for the pool from which rewards are paid."""

from pathlib import Path
from typing import Any

import click

from ledger.topic import LedgerError
from node.amounts import hbar
from node.cli.acting import (
    Acting,
    Hbar,
    acting,
    check_may_write,
    config_option,
    hand_in,
    json_option,
    loaded,
    perform,
)
from node.cli.spending import mainnet_option
from node.config import Config
from node.deposits import Deposit, pay
from protocol.ids import Tinybar
from protocol.payments import FundRecord, TopupRecord
from protocol.transfers import TransactionId

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the record to FILE instead, for a member to put on the topic.",
)
id_option = click.option(
    "--id",
    "name",
    metavar="NAME",
    help="What makes it one and the same deposit; by default its amount. Give another to pay as much again.",
)
amount_option = click.option(
    "--amount", type=Hbar(), required=True, metavar="HBAR", help="How much, for example 25 or 0.5."
)


@click.command("fund")
@config_option
@amount_option
@id_option
@out_option
@mainnet_option
@json_option
def command(
    file: Path, amount: Tinybar, name: str | None, out: Path | None, mainnet: bool, as_json: bool
) -> None:
    """Put money into the run's pool.

    However often the same deposit is asked for, also after a crash, it is paid once: what is unfinished is
    carried on with.
    """
    perform(fund, loaded(file, mainnet), amount, name or hbar(amount), out, as_json=as_json)


async def fund(config: Config, amount: Tinybar, name: str, out: Path | None) -> dict[str, Any]:
    """Pay into the pool, and say so on the topic."""
    async with acting(config) as act:
        if act.run.open is None:
            raise LedgerError("the run has ended; what is put into its pool now would pay nobody")
        return await deposit(act, Deposit("fund", act.hedera.account, amount, name), out)


async def deposit(act: Acting, what: Deposit, out: Path | None) -> dict[str, Any]:
    """Pay a deposit once, and put the record that names it on the topic. Raises LedgerError, Void."""
    if out is None:
        await check_may_write(act)
    transaction = await pay(act.hedera, act.run, what)
    told: dict[str, Any] = {"op": what.op, "id": what.name, "amount": what.amount, "transaction": transaction}
    said = f"{what.op} {what.name!r}: {hbar(what.amount)} with transaction {transaction}"
    if transaction in act.run.money.used:
        again = "it was paid and counted before, and is not paid again; to give as much again, add --id NAME"
        return told | {"file": None, "sequence": None, "lines": [said, again]}
    handed = await hand_in(act, record_of(act, what, transaction), out)
    return told | handed | {"lines": [said, *handed["lines"]]}


def record_of(act: Acting, what: Deposit, transaction: TransactionId) -> FundRecord | TopupRecord:
    """The record that names a deposit's transfer."""
    run = act.run.run
    if what.op == "fund":
        return FundRecord(run=run, account=act.hedera.account, amount=what.amount, transaction=transaction)
    return TopupRecord(run=run, peer=act.identity.peer, amount=what.amount, transaction=transaction)
