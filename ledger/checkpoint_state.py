"""The state of a run in a checkpoint: strict models beside the frozen dataclasses of protocol/state.py."""

from typing import Annotated

from pydantic import Field, StringConstraints

from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    DigestField,
    Model,
    Place,
    RoundField,
)
from protocol.ids import Nanoseconds, Tinybar, TopicId
from protocol.messages import Opening, Proposal, Vote
from protocol.params import Params
from protocol.records import Member
from protocol.state import ClosedRound, Ending, OpenRound, RunState, Totals

Decimal = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,99})$")]
"""An integer from 0 that may pass 2^53."""
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Places = tuple[Place, ...]
"""A set of places, sorted."""


class OpenForm(Model):
    """OpenRound."""

    number: RoundField
    opening: Opening
    members: Places
    proposer: Place
    deadline: Decimal
    proposals: tuple[Proposal, ...]
    votes: tuple[Vote, ...]
    doubled: Places


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
    absent: tuple[Count, ...]
    inactive: Places
    returning: Places
    credits: tuple[tuple[AccountField, Decimal], ...]
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
        absent=state.absent,
        inactive=tuple(sorted(state.inactive)),
        returning=tuple(sorted(state.returning)),
        credits=tuple((account, str(amount)) for account, amount in state.credits),
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
        absent=form.absent,
        inactive=frozenset(form.inactive),
        returning=frozenset(form.returning),
        credits=tuple((account, Tinybar(int(amount))) for account, amount in form.credits),
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
        doubled=tuple(sorted(current.doubled)),
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
        doubled=frozenset(form.doubled),
    )
