"""`roundabout topup`: money for our own stake."""

from pathlib import Path
from typing import Any

import click

from ledger.topic import LedgerError
from node.amounts import hbar
from node.cli.acting import acting, config_option, json_option, loaded, perform
from node.cli.fund import amount_option, deposit, id_option, out_option
from node.cli.spending import mainnet_option
from node.config import Config
from node.deposits import Deposit
from protocol.ids import PeerId, Tinybar
from protocol.state import RunState


@click.command("topup")
@config_option
@amount_option
@id_option
@out_option
@mainnet_option
@json_option
def command(
    file: Path, amount: Tinybar, name: str | None, out: Path | None, mainnet: bool, as_json: bool
) -> None:
    """Put more money at stake.

    However often the same deposit is asked for, also after a crash, it is paid once: what is unfinished is
    carried on with.
    """
    perform(topup, loaded(file, mainnet), amount, name or hbar(amount), out, as_json=as_json)


async def topup(config: Config, amount: Tinybar, name: str, out: Path | None) -> dict[str, Any]:
    """Pay into our stake, and say so on the topic."""
    async with acting(config) as act:
        check_has_stake(act.run, act.identity.peer)
        return await deposit(act, Deposit("topup", act.identity.peer, amount, name), out)


def check_has_stake(state: RunState, peer: PeerId) -> None:
    """Make sure that a peer belongs to the run, or is about to. Raises LedgerError."""
    place = state.place_of(peer)
    if place is None or place not in state.seated | state.seats.joining:
        raise LedgerError(f"{peer} is no member of this run; join it first: `roundabout motion join`")
    if state.open is None:
        raise LedgerError("the run has ended; nothing is at stake any more")
