"""Money: what must hold after every record, and what the treasury must have done in the end."""

from node.simulation.cast import TREASURY
from node.simulation.ledger import Ledger
from protocol.money import Money, liabilities, total_of
from protocol.state import RunState


class Violation(Exception):
    """Something that must hold does not: the name of the invariant, and what broke it."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


def check_money(money: Money) -> None:
    """Each tinybar of the deposits is somewhere, and none is owed to the pool. Raises Violation."""
    amounts = (money.pool, money.fees, *money.stakes, *(amount for _, amount in (*money.owed, *money.paid)))
    if liabilities(money) + money.fees + total_of(money.paid) != money.deposits:
        raise Violation("money is conserved", f"{liabilities(money)} + {money.fees} of {money.deposits}")
    if min(amounts) < 0:
        raise Violation("no amount is negative", f"{min(amounts)}")


def check_treasury(state: RunState, ledger: Ledger) -> None:
    """The treasury has paid what settlements asked for, each once, and holds what it must. Raises Violation."""
    money = state.money
    spent = [each for each in ledger.transfers if each.moved(TREASURY) < 0]
    paid = [each for each in spent if each.succeeded]
    if len({each.memo for each in paid}) != len(paid):
        raise Violation("nobody is paid twice", f"{[each.memo for each in paid]}")
    if money.settlement is not None:
        return
    # What somebody paid for a record that came too late belongs to nobody.
    claimed = [each for each in ledger.transfers if each.moved(TREASURY) < 0 or each.id in money.used]
    balance = sum(each.moved(TREASURY) for each in claimed)
    if balance != liabilities(money):
        raise Violation("the treasury holds what it must", f"{balance}, not {liabilities(money)}")
    for account, amount in money.paid:
        if amount != sum(each.moved(account) for each in paid):
            raise Violation("the treasury pays what is owed", f"{account} has not got {amount}")
