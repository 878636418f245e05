"""A run's book in a checkpoint: strict models beside the frozen dataclasses of ledger/book.py."""

from ledger.book import Balances, Book, Course, Event, Outcome, RoundMoney
from ledger.checkpoint_money import (
    AccountsForm,
    Count,
    Decimal,
    NameForm,
    SettlementForm,
    accounts_form,
    accounts_of,
    amount_of,
    settlement_form,
    settlement_of,
)
from protocol.fields import AccountField, Model, Place, RoundField
from protocol.ids import Nanoseconds

BalancesForm = tuple[Count, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal]
"""Balances: sequence, time, then the amounts in their order."""


class RoundMoneyForm(Model):
    """RoundMoney, and its round."""

    round: RoundField
    credits: AccountsForm
    proposal: Decimal
    votes: tuple[Decimal, ...]
    lost: tuple[tuple[Place, Decimal], ...]


class EventForm(Model):
    """Event."""

    sequence: Count
    time: Decimal
    op: str
    member: Place | None
    account: AccountField | None
    amount: Decimal | None
    number: Count | None
    transaction: NameForm | None
    changes: tuple[tuple[str, str, str], ...]


class CourseForm(Model):
    """Course."""

    settlement: SettlementForm
    outcome: Outcome
    transaction: NameForm | None
    fee: Decimal
    closed: Count | None


class BookForm(Model):
    """Book."""

    rounds: tuple[RoundMoneyForm, ...]
    hurried: tuple[RoundField, ...]
    courses: tuple[CourseForm, ...]
    events: tuple[EventForm, ...]
    balances: tuple[BalancesForm, ...]


def book_form(book: Book) -> BookForm:
    """A book as it stands in a checkpoint."""
    return BookForm(
        rounds=tuple(
            RoundMoneyForm(
                round=number,
                credits=accounts_form(money.credits),
                proposal=str(money.proposal),
                votes=tuple(map(str, money.votes)),
                lost=tuple((place, str(amount)) for place, amount in money.lost),
            )
            for number, money in book.rounds.items()
        ),
        hurried=tuple(sorted(book.hurried)),
        courses=tuple(map(_course_form, book.courses)),
        events=tuple(map(_event_form, book.events)),
        balances=tuple(map(_balances_form, book.balances)),
    )


def book_of(form: BookForm) -> Book:
    """The book that a form stands for."""
    return Book(
        rounds={
            each.round: RoundMoney(
                accounts_of(each.credits),
                amount_of(each.proposal),
                tuple(map(amount_of, each.votes)),
                tuple((place, amount_of(amount)) for place, amount in each.lost),
            )
            for each in form.rounds
        },
        hurried=set(form.hurried),
        courses=[
            Course(
                settlement_of(each.settlement),
                each.outcome,
                each.transaction,
                amount_of(each.fee),
                each.closed,
            )
            for each in form.courses
        ],
        events=list(map(_event, form.events)),
        balances=[
            Balances(sequence, Nanoseconds(int(time)), *map(amount_of, amounts))
            for sequence, time, *amounts in form.balances
        ],
    )


def _course_form(course: Course) -> CourseForm:
    return CourseForm(
        settlement=settlement_form(course.settlement),
        outcome=course.outcome,
        transaction=course.transaction,
        fee=str(course.fee),
        closed=course.closed,
    )


def _event_form(event: Event) -> EventForm:
    return EventForm(
        sequence=event.sequence,
        time=str(event.time),
        op=event.op,
        member=event.member,
        account=event.account,
        amount=None if event.amount is None else str(event.amount),
        number=event.number,
        transaction=event.transaction,
        changes=event.changes,
    )


def _event(form: EventForm) -> Event:
    return Event(
        form.sequence,
        Nanoseconds(int(form.time)),
        form.op,
        form.member,
        form.account,
        None if form.amount is None else amount_of(form.amount),
        form.number,
        form.transaction,
        form.changes,
    )


def _balances_form(now: Balances) -> BalancesForm:
    return (
        now.sequence,
        str(now.time),
        str(now.deposits),
        str(now.pool),
        str(now.stakes),
        str(now.unbonding),
        str(now.reserve),
        str(now.owed),
        str(now.paid),
        str(now.fees),
    )
