"""From what is owed to a transfer on the ledger, and back (SPEC.md, settle).

settle        opens a settlement: who is paid next, and how much
  payout_of   what its members sign on the ledger, equal for all
settled       it took effect: the money is paid
failed        it did not and never will: who was in it is paid alone next time
"""

from dataclasses import replace

from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, AccountId, Nanoseconds, Round, Tinybar
from protocol.money import (
    LONGEST_REST,
    MAX_PAYEES,
    Accounts,
    Money,
    Refusal,
    Settlement,
    TreasuryKeys,
    added,
    total_of,
    wind_up,
)
from protocol.params import Params
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import Payout, SharedKey, Transfer

EXPIRY_MARGIN = Nanoseconds(60 * SECOND)
"""How long after its expiry a settlement is over: a mirror that is behind must have caught up with all of it."""


def settle(state: RunState, number: int, stamp: Stamp) -> RunState:
    """Open a settlement. Raises Ignore when it is not due, Invalid where there is no treasury."""
    money = state.money
    if money.treasury is None:
        raise Invalid("a settlement in a run without a treasury")
    check_next(money, number)
    money = with_queue(state, stamp.time)
    batch = next_batch(money)
    payees = tuple((account, amount) for account, amount in money.owed if account in batch)
    queue = tuple(account for account in money.queue if account not in batch)
    return replace(state, money=opened(replace(money, queue=queue), state.params, payees, None, stamp))


def check_next(money: Money, number: int) -> None:
    """Check that a settlement may be opened under a number. Raises Ignore or Invalid."""
    if number <= money.settlements:
        raise Ignore(f"settlement {number} was opened before")
    if number > money.settlements + 1:
        raise Invalid(f"settlement {number} comes before settlement {money.settlements + 1}")
    if money.settlement is not None:
        raise Ignore(f"settlement {money.settlement.number} is still open")


def is_due(state: RunState, time: Nanoseconds) -> bool:
    """Whether a settlement could be opened now."""
    money = state.money
    if money.treasury is None or money.settlement is not None or money.pool < state.params.settle_fee:
        return False
    if state.open is not None and not money.queue and not is_snapshot_due(state):
        return False
    try:
        with_queue(state, time)
    except Ignore:
        return False
    return True


def with_queue(state: RunState, time: Nanoseconds) -> Money:
    """Who waits to be paid: those of the last snapshot, or of a new one where it is time. Raises Ignore.

    A new one comes in time even where the last is not done with: who refuses its money must not hold up others.
    """
    money, rounds, owed = state.money, state.rounds, dict(state.money.owed)
    queue = tuple(account for account in money.queue if account in owed)
    is_time = is_snapshot_due(state)
    if queue and not is_time:
        return replace(money, queue=queue)
    if state.open is None:
        money = ended(state, time)
    elif not is_time:
        raise Ignore(f"a settlement {rounds - money.snapshot_round} rounds after the last")
    resting = {rest.account for rest in money.refusals if rest.until > rounds and state.open is not None}
    due = [account for account, _ in money.owed if account not in resting]
    if not due:
        raise Ignore("a settlement of nothing")
    queue = tuple(sorted(due, key=lambda account: precedence(money, account)))
    return replace(money, queue=queue, snapshot_round=rounds)


def is_snapshot_due(state: RunState) -> bool:
    """Whether it is time to decide anew who is to be paid."""
    return state.rounds - state.money.snapshot_round >= state.params.settle_every


def wind_up_time(state: RunState) -> Nanoseconds | None:
    """After which all that is left of a run that has ended is owed, or None while it goes on."""
    if state.open is not None or state.last is None:
        return None
    return Nanoseconds(state.last.time + state.params.window // 4)


def precedence(money: Money, account: AccountId) -> int:
    """Who is paid first: who took money before, then who never did, last who may have refused it, least often first."""
    if account in money.alone:
        return 2 + sum(rest.count for rest in money.refusals if rest.account == account)
    return 0 if account in dict(money.paid) else 1


def ended(state: RunState, time: Nanoseconds) -> Money:
    """The money after the end: all is owed to somebody. Raises Ignore while late votes may still come."""
    due = wind_up_time(state)
    if state.money.wound_up or due is None:
        return state.money
    if time <= due:
        raise Ignore("a settlement while votes on the last round may still come")
    return wind_up(state.money, [member.account for member in state.roster], state.params.settle_fee)


def next_batch(money: Money) -> frozenset[AccountId]:
    """Whom the next settlement pays: up to nine of one precedence, or one that is paid alone."""
    first = precedence(money, money.queue[0])
    alike = [account for account in money.queue if precedence(money, account) == first]
    return frozenset(alike[: 1 if first >= 2 else MAX_PAYEES])


def opened(money: Money, params: Params, payees: Accounts, keys: TreasuryKeys | None, stamp: Stamp) -> Money:
    """The money with a settlement, or a rotation, open. Raises Ignore when the pool cannot bear its fee."""
    if money.pool < params.settle_fee:
        raise Ignore(f"a settlement while the pool is below its fee of {params.settle_fee} tinybar; fund it")
    number = money.settlements + 1
    return replace(
        money,
        pool=Tinybar(money.pool - params.settle_fee),
        settlements=number,
        settlement=Settlement(
            number, stamp.sequence, stamp.time, payees, params.settle_fee, expiry(stamp, params), keys
        ),
    )


def is_paid_off(state: RunState) -> bool:
    """Whether the run has ended and nobody is owed anything any more."""
    return state.money.wound_up and not state.money.owed and state.money.settlement is None


def payout_of(state: RunState) -> Payout | None:
    """What the open settlement asks the members to sign on the ledger, or None."""
    money = state.money
    settlement = money.settlement
    if settlement is None or money.treasury is None:
        return None
    keys = settlement.keys
    return Payout(
        treasury=money.treasury,
        memo=str(settlement.sequence),
        opened=settlement.opened,
        expires=settlement.expires,
        fee=settlement.reserve,
        payees=settlement.payees,
        key=None
        if keys is None
        else SharedKey(keys.required, tuple(state.roster[place].key for place in keys.places)),
    )


def expiry(stamp: Stamp, params: Params) -> Nanoseconds:
    """When a settlement can no longer take effect: in whole seconds, as schedules have it."""
    return Nanoseconds((stamp.time // SECOND + params.settle_window) * SECOND)


def open_settlement(state: RunState, number: int) -> Settlement:
    """The open settlement, when it is the one asked for. Raises Ignore when it is over, Invalid before it is."""
    settlement = state.money.settlement
    if number > state.money.settlements:
        raise Invalid(f"settlement {number} was never opened")
    if settlement is None or number < settlement.number:
        raise Ignore(f"settlement {number} is over")
    return settlement


def settled(state: RunState, number: int, transfer: Transfer | None, stamp: Stamp) -> RunState:
    """The open settlement took effect. Raises Ignore, or Invalid when the transfer is not what it asked for."""
    settlement, money = open_settlement(state, number), state.money
    if transfer is None:
        raise Invalid(f"a payment of settlement {number} that is not on the ledger")
    check_payment(money, settlement, transfer, stamp)
    done = {account for account, _ in settlement.payees}
    money = replace(
        charged(money, settlement, transfer.fee),
        owed=added(money.owed, [(account, -amount) for account, amount in settlement.payees]),
        paid=added(money.paid, settlement.payees),
        used=money.used | {transfer.id},
        alone=money.alone - done,
        refusals=tuple(entry for entry in money.refusals if entry.account not in done),
        keys=settlement.keys or money.keys,
    )
    return replace(state, money=money)


def check_payment(money: Money, settlement: Settlement, transfer: Transfer, stamp: Stamp) -> None:
    """Check that a transaction is the one a settlement asked for, to the tinybar. Raises Invalid."""
    assert money.treasury is not None, "a settlement has a treasury"
    what = f"settlement {settlement.number}"
    if not transfer.succeeded:
        raise Invalid(f"a payment of {what} that failed: {transfer.result}")
    if transfer.memo != str(settlement.sequence) or transfer.id in money.used:
        raise Invalid(f"a payment for something else than {what}")
    if not settlement.opened < transfer.time < stamp.time:
        raise Invalid(f"a payment of {what} at another time")
    if transfer.name != ("CRYPTOTRANSFER" if settlement.keys is None else "CRYPTOUPDATEACCOUNT"):
        raise Invalid(f"a payment of {what} by a {transfer.name}")
    if transfer.fee > settlement.reserve:
        raise Invalid(f"a payment of {what} that cost {transfer.fee} tinybar")
    if transfer.moved(money.treasury) != -total_of(settlement.payees) - transfer.fee:
        raise Invalid(f"a payment of another amount than that of {what}")
    # An account that collects fees may have got more.
    if any(transfer.moved(account) < amount for account, amount in settlement.payees):
        raise Invalid(f"a payment to others than those of {what}")


def charged(money: Money, settlement: Settlement, fee: Tinybar) -> Money:
    """Close the open settlement: what it cost is a fee, the rest of its reserve goes back to the pool."""
    return replace(
        money,
        settlement=None,
        fees=Tinybar(money.fees + fee),
        pool=Tinybar(money.pool + settlement.reserve - fee),
    )


def failed(state: RunState, number: int, found: tuple[Transfer, ...], stamp: Stamp) -> RunState:
    """The open settlement has not taken effect and never will. Raises Ignore while it may, Invalid if it did.

    found: all that the treasury paid from its opening to this record.
    """
    settlement, money = open_settlement(state, number), state.money
    tried = [transfer for transfer in found if is_attempt(transfer, money, settlement, stamp)]
    if any(transfer.succeeded for transfer in tried):
        raise Invalid(f"settlement {number} took effect")
    # A schedule that has been executed is over, whatever came of it; else it is open until it expires.
    if not tried and stamp.time <= settlement.expires + EXPIRY_MARGIN:
        raise Ignore(f"settlement {number} may still take effect")
    fee = Tinybar(min(sum(transfer.fee for transfer in tried), settlement.reserve + money.pool))
    money = replace(charged(money, settlement, fee), used=money.used | {each.id for each in tried})
    return replace(state, money=with_refusal(money, settlement, state))


def is_attempt(transfer: Transfer, money: Money, settlement: Settlement, stamp: Stamp) -> bool:
    """Whether the treasury paid for a transaction that tried to do what a settlement asks for.

    What somebody else paid for is none, whatever its memo: it must not close a settlement early.
    """
    assert money.treasury is not None, "a settlement has a treasury"
    in_time = settlement.opened < transfer.time < stamp.time
    paid = transfer.moved(money.treasury) < 0
    return in_time and paid and transfer.memo == str(settlement.sequence) and transfer.id not in money.used


def with_refusal(money: Money, settlement: Settlement, state: RunState) -> Money:
    """Who was in a payment that failed is paid alone: at once, or after a rest where it was alone already."""
    accounts = [account for account, _ in settlement.payees]
    if len(accounts) != 1:
        queue = (*money.queue, *accounts)
        return replace(money, queue=queue, alone=money.alone | set(accounts))
    account = accounts[0]
    count = 1 + sum(rest.count for rest in money.refusals if rest.account == account)
    until = Round(state.rounds + state.params.settle_every * 2 ** min(count, LONGEST_REST))
    others = [rest for rest in money.refusals if rest.account != account]
    refusals = tuple(sorted([*others, Refusal(account, count, until)], key=lambda rest: rest.account))
    return replace(money, alone=money.alone | {account}, refusals=refusals)
