"""What one member does about money and faults: due payments, signatures, evidence (SPEC.md, step).

pay        open a settlement when it is due, sign it on the ledger, and say what became of it
accuse     put evidence against members on the topic
"""

from dataclasses import replace

from protocol.ids import Nanoseconds
from protocol.motions import FaultRecord, SignedPass, SignedProposal, SignedVote
from protocol.parse import Record
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.settlement import is_due, payout_of
from protocol.state import RunState
from protocol.timing import charge_time, record_time, turn_time
from protocol.view import Charge, Cosign, Effects, Payment, Submit, View


def pay(view: View, state: RunState, place: int, now: Nanoseconds) -> tuple[View, Effects]:
    """Open a settlement when it is due, sign it on the ledger, and say what became of it."""
    settlement = state.money.settlement
    if settlement is None:
        return open_due(view, state, place, now)
    view, payment = with_payment(view, settlement.number, True, now)
    payout = payout_of(state)
    if not payment.cosigned and place in state.money.keys.places and payout is not None:
        if now < turn_time(payment, state, place):
            return view, ()
        cosigned = replace(payment, cosigned=True)
        return replace(view, payment=cosigned), (Cosign(settlement.number, payout),)
    outcome = payment.outcome
    if outcome is None or now < record_time(payment, state, place):
        return view, ()
    if payment.sent is not None and not outcome.succeeded and payout is not None:
        # It had no effect that it failed: our mirror may have been behind, so have it looked at again.
        view = replace(view, payment=replace(payment, outcome=None, sent=None))
        return view, (Cosign(settlement.number, payout),)
    record: Record
    if outcome.succeeded and outcome.transaction is not None:
        record = SettledRecord(run=state.run, number=settlement.number, transaction=outcome.transaction)
    else:
        record = FailedRecord(run=state.run, number=settlement.number)
    return replace(view, payment=replace(payment, sent=now)), (Submit(record),)


def open_due(view: View, state: RunState, place: int, now: Nanoseconds) -> tuple[View, Effects]:
    """Open the next settlement when it is due: who is next in the order first, others after a back-off.

    Where everybody has left, those who can sign it see to it that stakes come back.
    """
    openers = state.seated or frozenset(state.money.keys.places)
    if place not in openers or not is_due(state, now):
        return view, ()
    number = state.money.settlements + 1
    view, payment = with_payment(view, number, False, now)
    if now < record_time(payment, state, place):
        return view, ()
    record = SettleRecord(run=state.run, number=number)
    return replace(view, payment=replace(payment, sent=now)), (Submit(record),)


def with_payment(view: View, number: int, is_open: bool, now: Nanoseconds) -> tuple[View, Payment]:
    """What we know about a settlement, afresh when it is another one than before."""
    payment = view.payment
    if payment is None or (payment.number, payment.is_open) != (number, is_open):
        payment = Payment(number, now, is_open)
        view = replace(view, payment=payment)
    return view, payment


def accuse(view: View, state: RunState, place: int, now: Nanoseconds) -> tuple[View, Effects]:
    """Put evidence against members on the topic, until they are out."""
    if not view.charges:
        return view, ()
    charges: list[Charge] = []
    effects: Effects = ()
    for charge in view.charges:
        if charge.record.member in state.seats.expelled or state.money.wound_up:
            continue
        if charge.since is None:
            charge = replace(charge, since=now)
        if now >= charge_time(charge, state, place):
            charge = replace(charge, sent=now)
            effects = (*effects, Submit(charge.record))
        charges.append(charge)
    return replace(view, charges=tuple(charges)), effects


def with_charge(
    view: View,
    member: int,
    first: SignedProposal | SignedVote | SignedPass,
    second: SignedProposal | SignedVote | SignedPass,
) -> View:
    """Take note of evidence against a member; one piece is enough."""
    known = any(charge.record.member == member for charge in view.charges)
    if known or member == view.place or first.body == second.body:
        return view
    record = FaultRecord(member=member, first=first, second=second)
    return replace(view, charges=(*view.charges, Charge(record)))
