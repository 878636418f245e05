"""`roundabout balance`: where the money of a run is, and of it ours."""

from pathlib import Path
from typing import Any

import anyio
import click

from ledger.mirror import Mirror
from ledger.topic import HistoryBroken, LedgerError
from node.amounts import hbar
from node.cli.exits import one_line, tell
from node.config import ConfigError, load_config
from node.reading import read_run
from protocol.ids import SECOND, TopicId, is_entity
from protocol.money import total_of
from protocol.settlement import is_paid_off, payout_of
from protocol.state import RunState


@click.command("balance")
@click.option("--config", "file", type=click.Path(path_type=Path), help="The node's TOML file.")
@click.option("--topic", metavar="ID", help="Instead of --config: the run's topic, for example 0.0.1234.")
@click.option("--mirror", metavar="URL", help="With --topic: a mirror node's REST address.")
@click.option("--peer", metavar="PEER", help="Only this member; with --config by default our own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; its amounts are in tinybar.")
def command(
    file: Path | None, topic: str | None, mirror: str | None, peer: str | None, as_json: bool
) -> None:
    """Show what members have at stake, earned and were paid, and what is in the pool. Needs no account."""
    with one_line(ConfigError, LedgerError, failed=HistoryBroken):
        if file is not None and topic is None and mirror is None:
            url, name, ours = configured(file)
            peer = ours if peer is None else peer
        elif file is None and topic is not None and mirror is not None:
            if not is_entity(topic):
                raise click.UsageError(f"{topic!r} is no topic; it reads 0.0.1234")
            url, name = mirror, TopicId(topic)
        else:
            raise click.UsageError("give either --config FILE, or --topic ID and --mirror URL")
        told = told_of(anyio.run(fetch, url, name), peer)
    tell(told, as_json)


def configured(file: Path) -> tuple[str, TopicId, str]:
    """The mirror, the topic and the peer of a configuration; what that needs is imported only now."""
    from node.home import load_identity
    from node.identity import IdentityError
    from node.networks import profile_of

    config = load_config(file)
    with one_line(IdentityError):
        peer = load_identity(config).peer
    return config.ledger.mirror or profile_of(config.ledger).mirror, config.ledger.topic, peer


async def fetch(url: str, topic: TopicId) -> RunState:
    """The run as a mirror shows it. Raises LedgerError."""
    async with Mirror(url) as mirror:
        return await read_run(mirror, topic)


def told_of(state: RunState, peer: str | None) -> dict[str, Any]:
    """What there is to say of a run's money, and of one member's, or everybody's."""
    money = state.money
    places = [n for n, member in enumerate(state.roster) if peer is None or member.peer == peer]
    told: dict[str, Any] = {
        "run": state.run,
        "topic": state.topic,
        "treasury": money.treasury,
        "pool": money.pool,
        "at_stake": sum(money.stakes) + sum(part.amount for part in money.unbonding),
        "owed": total_of(money.owed),
        "paid": total_of(money.paid),
        "fees": money.fees,
        "deposits": money.deposits,
        "ended": state.open is None,
        "paid_off": is_paid_off(state),
        "settlement": settlement_of(state),
        "members": [member_of(state, place) for place in places],
    }
    stranger = [] if places else [f"{peer} never joined this run"]
    return told | {"lines": [*lines_of(told), *stranger]}


def member_of(state: RunState, place: int) -> dict[str, Any]:
    """A member's money; what is earned, owed and paid goes by its account."""
    money, member, seats = state.money, state.roster[place], state.seats
    unbonding = [part for part in money.unbonding if part.place == place]
    if place in seats.expelled:
        status = "thrown out"
    elif place in seats.joining:
        status = "joins with the next epoch"
    elif place in seats.vacant:
        status = "has left"
    elif place in seats.leaving:
        status = "leaves with the next epoch"
    else:
        status = "inactive" if place in state.inactive else "member"
    return {
        "place": place,
        "peer": member.peer,
        "account": member.account,
        "status": status,
        "stake": money.stakes[place],
        "unbonding": sum(part.amount for part in unbonding),
        "unbonding_until": max((part.until for part in unbonding), default=None),
        "earned": state.earned_by(member.account),
        "owed": dict(money.owed).get(member.account, 0),
        "paid": dict(money.paid).get(member.account, 0),
    }


def settlement_of(state: RunState) -> dict[str, Any] | None:
    """The payment, or rotation of keys, that the members are signing."""
    settlement, payout = state.money.settlement, payout_of(state)
    if settlement is None or payout is None:
        return None
    return {
        "number": settlement.number,
        "kind": "payment" if settlement.keys is None else "rotation",
        "payees": dict(settlement.payees),
        "total": total_of(settlement.payees),
        "reserve": settlement.reserve,
        "expires": payout.expires // SECOND,
    }


def lines_of(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    if told["treasury"] is None:
        return [f"run {told['run']} on topic {told['topic']} has no treasury: nobody pays or earns anything"]
    lines = [
        f"run {told['run']} on topic {told['topic']}, treasury {told['treasury']}",
        f"  pool {hbar(told['pool'])}, at stake {hbar(told['at_stake'])}, owed {hbar(told['owed'])}, "
        f"paid {hbar(told['paid'])}, fees {hbar(told['fees'])}",
    ]
    if told["ended"]:
        paid = "everything is paid" if told["paid_off"] else "what is owed is being paid"
        lines.insert(1, f"  the run has ended, and {paid}")
    settlement = told["settlement"]
    if settlement is not None and settlement["kind"] == "payment":
        lines.append(
            f"  settlement {settlement['number']} is open: {hbar(settlement['total'])} to "
            f"{len(settlement['payees'])} accounts"
        )
    elif settlement is not None:
        lines.append(f"  settlement {settlement['number']} is open: new keys for the treasury")
    for each in told["members"]:
        unbonding = f", unbonding {hbar(each['unbonding'])}" if each["unbonding"] else ""
        if each["unbonding"]:
            unbonding += f" until round {each['unbonding_until']} is over"
        lines.append(
            f"member {each['place']} ({each['peer']}), {each['status']}, account {each['account']}:\n"
            f"  stake {hbar(each['stake'])}{unbonding}, earned {hbar(each['earned'])}, "
            f"owed {hbar(each['owed'])}, paid {hbar(each['paid'])}"
        )
    return lines
