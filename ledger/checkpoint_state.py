"""The state of a run in a checkpoint: strict models beside the frozen dataclasses of protocol/state.py."""

from ledger.checkpoint_money import Count, Decimal, MoneyForm, Places, money_form, money_of
from protocol.fields import AddressField, DigestField, Model, Place, RoundField
from protocol.ids import Nanoseconds, TopicId
from protocol.messages import Opening, Proposal, Vote
from protocol.params import LearnerRef, Params
from protocol.records import Member
from protocol.state import ClosedRound, Ending, OpenRound, RunState, Seats, Totals, Whereabouts


class OpenForm(Model):
    """OpenRound."""

    number: RoundField
    opening: Opening
    members: Places
    proposer: Place
    deadline: Decimal
    proposals: tuple[Proposal, ...]
    votes: tuple[Vote, ...]
    seconds: tuple[Vote, ...]


class ClosedForm(Model):
    """ClosedRound."""

    number: RoundField
    ending: Ending
    members: Places
    proposer: Place
    proposal: Proposal | None
    votes: tuple[Vote, ...]
    counted: Count
    present: Places
    sequence: Count
    time: Decimal


class TotalsForm(Model):
    """Totals."""

    accepted: Count
    rejected: Count
    neutral: Count
    closed: Count
    passed: Count


class SeatsForm(Model):
    """Seats."""

    terms: tuple[Count, ...]
    vacant: Places
    joining: Places
    leaving: Places
    expelled: Places
    amendments: Count
    pending: tuple[Params | LearnerRef, ...]
    ending: bool


class StateForm(Model):
    """RunState, but for its topic and its last round, which a checkpoint has anyway."""

    run: DigestField
    params: Params
    roster: tuple[Member, ...]
    order: tuple[Place, ...]
    cursor: Count
    epoch: Count
    head: DigestField
    head_size: Count
    head_pieces: DigestField | None
    absent: tuple[Count, ...]
    inactive: Places
    returning: Places
    whereabouts: tuple[tuple[RoundField, tuple[AddressField, ...]] | None, ...]
    seats: SeatsForm
    money: MoneyForm
    totals: TotalsForm
    open: OpenForm | None


def form_of(state: RunState) -> StateForm:
    """A state as it stands in a checkpoint."""
    totals = state.totals
    return StateForm(
        run=state.run,
        params=state.params,
        roster=state.roster,
        order=state.order,
        cursor=state.cursor,
        epoch=state.epoch,
        head=state.head,
        head_size=state.head_size,
        head_pieces=state.head_pieces,
        absent=state.absent,
        inactive=tuple(sorted(state.inactive)),
        returning=tuple(sorted(state.returning)),
        whereabouts=tuple(
            None if known is None else (known.round, known.addresses) for known in state.whereabouts
        ),
        seats=_seats_form(state.seats),
        money=money_form(state.money),
        totals=TotalsForm(
            accepted=totals.accepted,
            rejected=totals.rejected,
            neutral=totals.neutral,
            closed=totals.closed,
            passed=totals.passed,
        ),
        open=None if state.open is None else _open_form(state.open),
    )


def state_of(form: StateForm, topic: TopicId, last: ClosedRound | None) -> RunState:
    """The state that a form stands for."""
    return RunState(
        run=form.run,
        topic=topic,
        params=form.params,
        roster=form.roster,
        order=form.order,
        cursor=form.cursor,
        epoch=form.epoch,
        head=form.head,
        head_size=form.head_size,
        head_pieces=form.head_pieces,
        absent=form.absent,
        inactive=frozenset(form.inactive),
        returning=frozenset(form.returning),
        whereabouts=tuple(None if known is None else Whereabouts(*known) for known in form.whereabouts),
        seats=_seats(form.seats),
        money=money_of(form.money),
        totals=Totals(**form.totals.model_dump()),
        open=None if form.open is None else _open_round(form.open),
        last=last,
    )


def closed_form(closed: ClosedRound) -> ClosedForm:
    """A closed round as it stands in a checkpoint."""
    return ClosedForm(
        number=closed.number,
        ending=closed.ending,
        members=tuple(sorted(closed.members)),
        proposer=closed.proposer,
        proposal=closed.proposal,
        votes=closed.votes,
        counted=closed.counted,
        present=tuple(sorted(closed.present)),
        sequence=closed.sequence,
        time=str(closed.time),
    )


def closed_round(form: ClosedForm) -> ClosedRound:
    """The closed round that a form stands for."""
    return ClosedRound(
        number=form.number,
        ending=form.ending,
        members=frozenset(form.members),
        proposer=form.proposer,
        proposal=form.proposal,
        votes=form.votes,
        counted=form.counted,
        present=frozenset(form.present),
        sequence=form.sequence,
        time=Nanoseconds(int(form.time)),
    )


def _open_form(current: OpenRound) -> OpenForm:
    return OpenForm(
        number=current.number,
        opening=current.opening,
        members=tuple(sorted(current.members)),
        proposer=current.proposer,
        deadline=str(current.deadline),
        proposals=current.proposals,
        votes=current.votes,
        seconds=current.seconds,
    )


def _open_round(form: OpenForm) -> OpenRound:
    return OpenRound(
        number=form.number,
        opening=form.opening,
        members=frozenset(form.members),
        proposer=form.proposer,
        deadline=Nanoseconds(int(form.deadline)),
        proposals=form.proposals,
        votes=form.votes,
        seconds=form.seconds,
    )


def _seats_form(seats: Seats) -> SeatsForm:
    return SeatsForm(
        terms=seats.terms,
        vacant=tuple(sorted(seats.vacant)),
        joining=tuple(sorted(seats.joining)),
        leaving=tuple(sorted(seats.leaving)),
        expelled=tuple(sorted(seats.expelled)),
        amendments=seats.amendments,
        pending=seats.pending,
        ending=seats.ending,
    )


def _seats(form: SeatsForm) -> Seats:
    return Seats(
        terms=form.terms,
        vacant=frozenset(form.vacant),
        joining=frozenset(form.joining),
        leaving=frozenset(form.leaving),
        expelled=frozenset(form.expelled),
        amendments=form.amendments,
        pending=form.pending,
        ending=form.ending,
    )
