"""`roundabout motion join` and `leave`: one participant's own wish."""

from pathlib import Path
from typing import Any

import click

from node.amounts import hbar
from node.cli.acting import (
    Hbar,
    acting,
    check_may_write,
    config_option,
    hand_in,
    json_option,
    loaded,
    perform,
    written,
)
from node.cli.spending import mainnet_option
from node.config import Config
from node.deposits import Deposit, pay, treasury_of
from node.motions.drafts import draft_join, draft_leave, next_term
from node.motions.files import MotionError
from protocol.errors import ProtocolError
from protocol.ids import AccountId, Tinybar, is_entity
from protocol.membership import check_vacancy
from protocol.state import RunState


def _account(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_entity(value):
        raise click.BadParameter(f"{value!r} is no account; it reads 0.0.1234")
    return value


@click.command("join")
@config_option
@click.option(
    "--stake",
    type=Hbar(may_be_nothing=True),
    metavar="HBAR",
    help="By default the least that the run asks for; 0, where members vote: to be paid with `topup` once they have.",
)
@click.option(
    "--account", callback=_account, metavar="ID", help="Where earnings go; by default the account that pays."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the motion to FILE, for members to sign.",
)
@mainnet_option
@json_option
def join_command(
    file: Path,
    stake: Tinybar | None,
    account: str | None,
    out: Path | None,
    mainnet: bool,
    as_json: bool,
) -> None:
    """Ask to take part: pay the stake, and sign.

    Where admission is by vote, ask the members first, or with --stake 0: a stake that was paid for a motion that
    never passes is not given back by the protocol. Where it is open, this puts it on the topic at once. Asked
    again, also after a crash, the same stake is paid once.
    """
    payout = None if account is None else AccountId(account)
    perform(join, loaded(file, mainnet), stake, payout, out, as_json=as_json)


async def join(
    config: Config, stake: Tinybar | None, account: AccountId | None, out: Path | None
) -> dict[str, Any]:
    """Pay our stake once, and submit our wish to join, or write it for members to sign."""
    async with acting(config) as act:
        state, peer = act.run, act.identity.peer
        if state.params.admission == "vote" and out is None:
            raise MotionError("members vote on who joins this run; give --out FILE for them to sign")
        amount = state.params.stake_min if stake is None else stake
        payout = act.hedera.account if account is None else account
        check_join(state, peer, amount, payout)
        if out is None:
            await check_may_write(act)
        paid = None
        if amount:
            deposit = Deposit("join", peer, amount, f"term {next_term(state, peer)}")
            paid = await pay(act.hedera, state, deposit)
        record = draft_join(state, act.identity, payout, amount, paid)
        told = {"op": "join", "stake": amount, "transaction": paid, "term": record.body.term}
        if out is None:
            return told | await hand_in(act, record, None)
        await act.reading.catch_up()
        more = await written(act.reading, record, out)
        missing = state.params.stake_min - amount
        if missing > 0:
            line = f"once it is on the topic, pay {hbar(missing)} with `roundabout topup`; until then you are left out"
            more["lines"] = [*more["lines"], line]
        return told | more


def check_join(state: RunState, peer: str, stake: Tinybar, account: AccountId) -> None:
    """Make sure that a stake would not be paid in vain. Raises MotionError, LedgerError."""
    try:
        check_vacancy(state, state.place_of(peer))
    except ProtocolError as error:
        raise MotionError(f"{peer} cannot join now: {error}") from None
    if state.params.admission == "open" and stake < state.params.stake_min:
        raise MotionError(
            f"a stake of {hbar(stake)}; this run asks for {hbar(state.params.stake_min)} or more"
        )
    if stake and account == treasury_of(state):
        raise MotionError("earnings cannot go to the treasury; name another --account")


@click.command("leave")
@config_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to FILE instead, for somebody else to put on the topic.",
)
@mainnet_option
@json_option
def leave_command(file: Path, out: Path | None, mainnet: bool, as_json: bool) -> None:
    """Leave at the end of the epoch; the stake comes back once it is safe to return it."""
    perform(leave, loaded(file, mainnet), out, as_json=as_json)


async def leave(config: Config, out: Path | None) -> dict[str, Any]:
    """Sign and submit that we leave."""
    async with acting(config) as act:
        record = draft_leave(act.run, act.identity)
        if out is None:
            await check_may_write(act)
        told = await hand_in(act, record, out)
        rounds = act.run.params.unbonding_rounds
        line = f"the member leaves at the end of this epoch; its stake comes back {rounds} rounds later"
        lines = [*told["lines"], line]
        if record.body.member in act.run.money.keys.places:
            lines.append(
                "it holds a key of the treasury: leave its daemon running, which signs payments, until the others "
                "have new keys: `roundabout motion rotate`"
            )
        return {"op": "leave", "term": record.body.term} | told | {"lines": lines}
