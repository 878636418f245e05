"""What is true: `apply` takes the state over one record, for daemon and auditor alike (SPEC.md, fold).

read(state, topic, raw, stamp, found)    parse, then
  begin(genesis, stamp)                  round 1 is open
  apply(state, record, stamp, found)     one branch a record; raises Ignore or Invalid, and then nothing has changed
lookup(state, record, stamp)             which transfers the reader must look up before: `found`
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import singledispatch

from protocol.checks import check_proposal, check_votes, open_of
from protocol.deposits import check_deposit, transfer_of
from protocol.errors import Ignore, Invalid
from protocol.ids import NOTHING, Round, TopicId
from protocol.membership import amend, end, fault, join, leave, rotate
from protocol.money import Money, TreasuryKeys, release, unbond, with_fund, with_stake
from protocol.motions import (
    EndRecord,
    FaultRecord,
    JoinRecord,
    LeaveRecord,
    ParamsRecord,
    RotateRecord,
    UpgradeRecord,
)
from protocol.parse import Record, parse_record
from protocol.payments import FailedRecord, FundRecord, SettledRecord, SettleRecord, TopupRecord
from protocol.records import (
    AddressRecord,
    CloseRecord,
    Genesis,
    PassRecord,
    PresentRecord,
    ProposeRecord,
    Stamp,
    VerdictRecord,
    VoteRecord,
)
from protocol.rounds import (
    close_round,
    counted_choices,
    credit_late_vote,
    is_undrawn,
    open_round,
    outcomes_known,
    with_committee,
    with_proposal,
    with_vote,
)
from protocol.rules import close_tally, count_of, shuffled, tally
from protocol.settlement import failed, settle, settled
from protocol.signing import verify
from protocol.state import OpenRound, RunState, Seats, Totals, Whereabouts
from protocol.transfers import Lookup, Named, Outgoing, Transfer

Found = tuple[Transfer, ...]
"""What a reader found on the mirror for the lookup of a record."""


Folder = Callable[[RunState | None, TopicId, bytes, Stamp, Found], RunState]
"""What `fold_record` says, from wherever it knows it."""


def read(state: RunState | None, topic: TopicId, raw: bytes, stamp: Stamp, found: Found = ()) -> RunState:
    """The state after one topic message. Raises Ignore or Invalid when the message has no effect."""
    return _folder.get()(state, topic, raw, stamp, found)


@contextmanager
def folded_by(folder: Folder) -> Iterator[None]:
    """Within this context `read` asks another folder, which answers as `fold_record` does, if from memory."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def fold_record(state: RunState | None, topic: TopicId, raw: bytes, stamp: Stamp, found: Found) -> RunState:
    """The state after one topic message, found out here and now. Raises Ignore or Invalid."""
    record = parse_record(raw)
    if state is None:
        if not isinstance(record, Genesis):
            raise Ignore(f"a {record.op} record before the genesis")
        if record.topic != topic:
            raise Invalid(f"a genesis written for topic {record.topic}")
        return begin(record, stamp)
    return apply(state, record, stamp, found)


_folder: ContextVar[Folder] = ContextVar("folder", default=fold_record)


def lookup(state: RunState | None, record: Record, stamp: Stamp) -> Lookup | None:
    """The transfers that the reader must hand to `apply` with a record, or None."""
    if state is None or state.money.treasury is None:
        return None
    money, treasury, settlement = state.money, state.money.treasury, state.money.settlement
    match record:
        case FundRecord() | TopupRecord():
            return None if record.transaction in money.used else Named(record.transaction)
        case JoinRecord():
            transaction = record.body.transaction
            return None if transaction is None or transaction in money.used else Named(transaction)
        case SettledRecord() if settlement is not None and settlement.number == record.number:
            return Named(record.transaction)
        case FailedRecord() if settlement is not None and settlement.number == record.number:
            return Outgoing(treasury, settlement.opened, stamp.time)
    return None


def names_transfer(raw: bytes) -> bool:
    """Whether a message may name a transfer: false for most, without parsing them."""
    return any(b'"op":"%s"' % op in raw for op in (b"fund", b"topup", b"join", b"settled", b"failed"))


def begin(genesis: Genesis, stamp: Stamp) -> RunState:
    """The state after the genesis record: round 1 is open."""
    size, treasury = len(genesis.roster), genesis.treasury
    money = Money(
        treasury=None if treasury is None else treasury.account,
        keys=TreasuryKeys(0, ()) if treasury is None else TreasuryKeys(treasury.required, tuple(range(size))),
        stakes=(NOTHING,) * size,
    )
    state = RunState(
        run=genesis.run(),
        topic=genesis.topic,
        params=genesis.params,
        roster=genesis.roster,
        order=shuffled(size, stamp.running_hash),
        cursor=0,
        epoch=1,
        head=genesis.params.initial,
        head_size=0,
        head_pieces=None,
        absent=(0,) * size,
        inactive=frozenset(),
        returning=frozenset(),
        whereabouts=(None,) * size,
        seats=Seats(terms=(1,) * size),
        money=money,
        totals=Totals(),
        open=None,
        last=None,
    )
    return open_round(state, Round(1), stamp)


def apply(state: RunState, record: Record, stamp: Stamp, found: Found = ()) -> RunState:
    """The state after one record. Raises Ignore or Invalid when it has no effect.

    found: what the mirror has of the transfers that `lookup` names.
    """
    return _apply(record, state, stamp, found)


@singledispatch
def _apply(record: Record, state: RunState, stamp: Stamp, found: Found) -> RunState:
    raise Invalid("a second genesis")  # the only record without a branch of its own


# ---- rounds ----


@_apply.register
def _(record: VerdictRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    proposal = check_proposal(state, record.proposal)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a verdict on round {current.number} after its deadline")
    check_drawn(state, current)
    votes = check_votes(state, current, proposal, record.votes)
    members = len(current.members)
    outcome = tally(count_of(counted_choices(current, votes), members), state.params)
    if outcome != record.outcome:
        if record.outcome in outcomes_known(state, current, votes):
            raise Ignore("a verdict with a vote that its voter has contradicted on the topic")
        raise Invalid(f"a verdict of {record.outcome} whose votes say {outcome or 'undecided'}")
    return close_round(state, current, outcome, proposal, votes, stamp)


@_apply.register
def _(record: VoteRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    proposal = check_proposal(state, record.proposal)
    if state.last is not None and proposal.body.round == state.last.number:
        return credit_late_vote(state, state.last, proposal, record.vote)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a vote in round {current.number} after its deadline")
    check_drawn(state, current)
    (vote,) = check_votes(state, current, proposal, (record.vote,))
    return replace(state, open=with_vote(with_proposal(current, proposal), vote))


@_apply.register
def _(record: ProposeRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    proposal = check_proposal(state, record.proposal)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a proposal in round {current.number} after its deadline")
    changed = with_proposal(current, proposal)
    if changed is current:
        raise Ignore("a proposal that is on the topic already")
    return replace(state, open=with_committee(state, changed, stamp))


@_apply.register
def _(record: CloseRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    if record.run != state.run:
        raise Invalid("a close of another run")
    current = open_of(state, record.round)
    if stamp.time <= current.deadline:
        raise Ignore(f"a close of round {current.number} before its deadline")
    if len(current.proposals) != 1:
        return close_round(state, current, "closed", None, (), stamp)
    proposal = current.proposals[0]
    votes = tuple(vote for vote in current.votes if vote.body.proposal == proposal.body.digest())
    outcome = close_tally(count_of(counted_choices(current, votes), len(current.members)), state.params)
    return close_round(state, current, outcome or "closed", proposal, votes, stamp)


@_apply.register
def _(record: PassRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    if record.body.run != state.run:
        raise Invalid("a pass of another run")
    current = open_of(state, record.body.round)
    verify(state.roster[current.proposer].key, "pass", record.body, record.sig)
    if stamp.time > current.deadline:
        raise Ignore(f"a pass of round {current.number} after its deadline")
    if current.proposals:
        raise Invalid("a pass after a proposal of the same round")
    return close_round(state, current, "passed", None, (), stamp)


@_apply.register
def _(record: PresentRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    body = record.body
    if body.run != state.run:
        raise Invalid("a presence in another run")
    open_of(state, body.round)
    if body.member >= len(state.roster):
        raise Invalid("a presence of nobody in the roster")
    verify(state.roster[body.member].key, "present", body, record.sig)
    if body.member not in state.inactive or body.member in state.returning:
        raise Ignore("a presence of a member that counts already")
    return replace(state, returning=state.returning | {body.member})


@_apply.register
def _(record: AddressRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    body = record.body
    check_run(state, body.run, record.op)
    if body.member >= len(state.roster):
        raise Invalid("an address of nobody in the roster")
    if state.open is None or body.member not in state.seated | state.seats.joining:
        raise Ignore("an address of a member that has left, or the run has ended")
    if body.round > state.open.number:
        raise Invalid(f"an address in round {body.round}; round {state.open.number} is open")
    known = state.whereabouts[body.member]
    if known is not None and body.round <= known.round:
        raise Ignore("an address of a member that has given a later one")
    verify(state.roster[body.member].key, "address", body, record.sig)
    before, after = state.whereabouts[: body.member], state.whereabouts[body.member + 1 :]
    return replace(state, whereabouts=(*before, Whereabouts(body.round, body.addresses), *after))


# ---- members ----


@_apply.register
def _(record: JoinRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    body = record.body
    check_run(state, body.run, record.op)
    if body.transaction is None:
        return join(state, record)
    check_deposit(state, "join", body.peer, body.stake, body.transaction, found, stamp)
    state = join(state, record)
    place = state.place_of(body.peer)
    assert place is not None, "who has joined has a place"
    return replace(state, money=with_stake(state.money, place, body.stake, body.transaction))


@_apply.register
def _(record: LeaveRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.body.run, record.op)
    return leave(state, record)


@_apply.register
def _(record: ParamsRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.body.run, record.op)
    return amend(state, record.body, record.signatures)


@_apply.register
def _(record: UpgradeRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.body.run, record.op)
    return amend(state, record.body, record.signatures)


@_apply.register
def _(record: EndRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.body.run, record.op)
    return end(state, record.body, record.signatures)


@_apply.register
def _(record: FaultRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    return fault(state, record)


# ---- money ----


@_apply.register
def _(record: FundRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.run, record.op)
    by, amount = record.account, record.amount
    transfer = check_deposit(state, "fund", by, amount, record.transaction, found, stamp)
    if transfer.moved(by) > -amount:
        raise Invalid(f"a fund by {by} with a transfer that somebody else paid")
    return replace(state, money=with_fund(state.money, by, amount, record.transaction))


@_apply.register
def _(record: TopupRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.run, record.op)
    place = state.place_of(record.peer)
    if place is None:
        raise Invalid("a topup of nobody in the roster")
    check_deposit(state, "topup", record.peer, record.amount, record.transaction, found, stamp)
    money = with_stake(state.money, place, record.amount, record.transaction)
    belongs = place in state.seated or place in state.seats.joining
    if money.wound_up or not belongs:  # it can be no stake any more, and is not kept
        accounts = [member.account for member in state.roster]
        money = release(unbond(money, place, Round(0)), Round(0), accounts)
    return replace(state, money=money)


@_apply.register
def _(record: SettleRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.run, record.op)
    return settle(state, record.number, stamp)


@_apply.register
def _(record: SettledRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.run, record.op)
    return settled(state, record.number, transfer_of(found, record.transaction), stamp)


@_apply.register
def _(record: FailedRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.run, record.op)
    return failed(state, record.number, found, stamp)


@_apply.register
def _(record: RotateRecord, state: RunState, stamp: Stamp, found: Found) -> RunState:
    check_run(state, record.body.run, record.op)
    return rotate(state, record, stamp)


def check_drawn(state: RunState, current: OpenRound) -> None:
    """Check that it is known who votes. Raises Ignore."""
    if is_undrawn(state, current):
        raise Ignore(f"no committee is drawn in round {current.number} yet: its proposal is not on the topic")


def check_run(state: RunState, run: str, op: str) -> None:
    """Check that a record is of this run. Raises Invalid."""
    if run != state.run:
        raise Invalid(f"a {op} of another run")
