"""What the ledger shows of a run's treasury, as far as it was read, and whether the fold accounts for it.

debits      each is a payment that was recorded, one in progress, or a violation
credits     deposits that were counted, or unclaimed
balance     liabilities + unclaimed - in progress, to the tinybar
key         that of the members whose keys the fold says are the treasury's
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ledger.book import Book, Course
from ledger.pages import AccountEntry, nanoseconds
from ledger.shared_key import shared_key
from protocol.errors import Invalid
from protocol.ids import EPOCH, AccountId, Nanoseconds, RunningHash, Tinybar
from protocol.money import Money, TreasuryKeys, liabilities
from protocol.records import Stamp
from protocol.settlement import check_payment, is_attempt
from protocol.state import RunState
from protocol.transfers import SharedKey, TransactionId, Transfer

MAX_SHOWN = 3
"""Payees of a payment that a violation names."""
_LATEST = Stamp(0, Nanoseconds(2**63 - 1), RunningHash(""))


@dataclass(slots=True)
class Holding:
    """A treasury's transactions that the fold has not accounted for yet, and what the mirror says it holds."""

    reached: Nanoseconds = EPOCH
    """Up to which consensus time its transactions were taken."""
    cut: Nanoseconds = EPOCH
    """Up to which its account and the run's messages were read together."""
    read: int = 0
    """How many were, before only debits were asked for."""
    moved: int = 0
    """What all that was taken adds up to, in tinybar."""
    debits: list[Transfer] = field(default_factory=list)
    credits: list[Transfer] = field(default_factory=list)
    account: AccountEntry | None = None
    """What a mirror says of the account; None: its transactions alone are here."""

    def take(self, treasury: AccountId, transfers: Iterable[Transfer]) -> None:
        """Take what moved the treasury's money after what was taken before, up to the cut; oldest first."""
        reached = self.reached
        for transfer in transfers:
            amount = transfer.moved(treasury)
            if not self.reached < transfer.time <= self.cut or not amount:
                continue
            reached = transfer.time
            self.moved += amount
            (self.debits if amount < 0 else self.credits).append(transfer)
        self.reached = reached

    def with_account(self, account: AccountEntry | None) -> "Holding":
        """A copy, with the account as it is shown now."""
        return replace(self, debits=list(self.debits), credits=list(self.credits), account=account)

    @property
    def balance(self) -> int:
        """What the account holds; where no mirror says so, what was taken adds up to."""
        return self.moved if self.account is None else self.account.balance.balance

    @property
    def balance_time(self) -> Nanoseconds:
        """When the balance last changed, as far as the mirror says."""
        shown = None if self.account is None else self.account.balance.timestamp
        return EPOCH if shown is None else nanoseconds(shown)

    def forget(self, money: Money) -> None:
        """Drop what the fold has accounted for, which it does for ever."""
        self.debits = [each for each in self.debits if not is_explained(each, money)]
        self.credits = [each for each in self.credits if each.id not in money.used]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of a treasury that must not be."""

    reason: str
    transaction: TransactionId | None = None


@dataclass(frozen=True, slots=True)
class HoldingCheck:
    """How a treasury's account compares with the fold."""

    balance: Tinybar
    shown: bool
    """Whether a mirror says so; else it is what the transactions add up to."""
    in_progress: tuple[Transfer, ...]
    """Debits for the open settlement that no record tells of yet."""
    unclaimed: tuple[Transfer, ...]
    """Money that came in and that no record named."""
    unlisted: int
    """Tinybar that came in besides, in transactions that were not read; never less than 0 unless a debit is hidden."""
    key: bool | None
    """Whether the key is the members'; None: no mirror was asked."""
    faults: tuple[Fault, ...]


def check_holding(state: RunState, holding: Holding, book: Book) -> HoldingCheck:
    """Compare a treasury's account with a run's state; both as of the same consensus time."""
    money, treasury = state.money, state.money.treasury
    assert treasury is not None, "a run with money has a treasury"
    in_progress, faults = sort_debits(money, treasury, holding.debits, book)
    unclaimed = tuple(each for each in holding.credits if each.id not in money.used)
    outgoing = sum(each.moved(treasury) for each in holding.debits if not is_explained(each, money))
    added_up = liabilities(money) + sum(each.moved(treasury) for each in unclaimed) + outgoing
    shown = holding.account
    balance = holding.balance
    due = liabilities(money) + sum(each.moved(treasury) for each in in_progress)
    if balance < due:
        faults.append(
            Fault(
                f"the treasury {treasury} holds {balance} tinybar; {due - balance} of what it must hold are missing"
            )
        )
    if balance < added_up:
        faults.append(
            Fault(
                f"the treasury {treasury} holds {balance} tinybar, {added_up - balance} less than its transactions "
                "add up to: the mirror leaves out a payment; compare with another mirror"
            )
        )
    keys = expected_keys(money, in_progress)
    key = None if shown is None else has_key(shown, keys, state)
    if key is False:
        members = ", ".join(map(str, keys.places))
        faults.append(
            Fault(
                f"the key of the treasury {treasury} is not any {keys.required} of those of members {members}"
            )
        )
    return HoldingCheck(
        Tinybar(balance), shown is not None, in_progress, unclaimed, balance - added_up, key, tuple(faults)
    )


def is_explained(debit: Transfer, money: Money) -> bool:
    """Whether the fold has accounted for a debit, which is used up then: what failed cost its fee and no more."""
    return debit.id in money.used and (debit.succeeded or -debit.moved(_treasury(money)) == debit.fee)


def sort_debits(
    money: Money, treasury: AccountId, debits: Iterable[Transfer], book: Book
) -> tuple[tuple[Transfer, ...], list[Fault]]:
    """Debits that are in progress, and a fault for each that nothing explains."""
    in_progress: list[Transfer] = []
    faults: list[Fault] = []
    courses = {str(course.settlement.sequence): course for course in book.courses}
    for debit in sorted(debits, key=lambda each: each.time):
        if is_explained(debit, money):
            continue
        reason = objection(money, debit, courses.get(debit.memo), any(d.succeeded for d in in_progress))
        if reason is None:
            in_progress.append(debit)
        else:
            faults.append(Fault(f"{in_words(debit, treasury)}: {reason}", debit.id))
    return tuple(in_progress), faults


def objection(money: Money, debit: Transfer, course: Course | None, is_paid: bool) -> str | None:
    """Why a debit that was not recorded is not in progress either; None where it is. is_paid: another one is."""
    settlement = money.settlement
    if course is None:
        return "no settlement asks for it"
    number = course.settlement.number
    if course.outcome == "settled":
        return f"settlement {number} was paid by {course.transaction}"
    if course.outcome == "failed" or settlement is None:
        return f"settlement {number} was recorded as failed"
    if is_paid:
        return f"it is a second payment for settlement {number}"
    if not debit.succeeded:
        is_fee = is_attempt(debit, money, settlement, _LATEST) and -debit.moved(_treasury(money)) == debit.fee
        return None if is_fee else f"it is not what settlement {number} asks for"
    try:
        check_payment(money, settlement, debit, _LATEST)
    except Invalid as error:
        return str(error)
    return None


def in_words(debit: Transfer, treasury: AccountId) -> str:
    """A debit as a violation names it: transaction, amount, payees, memo."""
    gains = sorted(((-amount, account) for account, amount in debit.moves if amount > 0))
    payees = [f"{-amount} to {account}" for amount, account in gains[:MAX_SHOWN]]
    payees += [f"{len(gains) - MAX_SHOWN} more"] if len(gains) > MAX_SHOWN else []
    memo = "".join(c if c.isprintable() else "?" for c in debit.memo[:60])
    return (
        f"transaction {debit.id} ({debit.name}, {debit.result}) took {-debit.moved(treasury)} tinybar from the "
        f"treasury, {', '.join(payees) or 'to nobody'}, memo {memo!r}"
    )


def expected_keys(money: Money, in_progress: Iterable[Transfer]) -> TreasuryKeys:
    """Whose keys the treasury should have now: those of a rotation from the moment that it took effect."""
    settlement = money.settlement
    if settlement is None or settlement.keys is None or not any(each.succeeded for each in in_progress):
        return money.keys
    return settlement.keys


def has_key(account: AccountEntry, keys: TreasuryKeys, state: RunState) -> bool:
    """Whether an account's key is that of some members; in which order they stand in it makes no difference."""
    shown = key_of(account)
    wanted = {state.roster[place].key for place in keys.places}
    return shown is not None and shown.required == keys.required and set(shown.keys) == wanted


def key_of(account: AccountEntry) -> SharedKey | None:
    """The m-of-n key that an account is shown to have; None when it has one of another kind."""
    key = account.key
    return None if key is None or key.type != "ProtobufEncoded" else shared_key(bytes.fromhex(key.key))


def _treasury(money: Money) -> AccountId:
    assert money.treasury is not None, "a run with money has a treasury"
    return money.treasury
