"""Who comes, who goes, who is thrown out, and by which rules the others go on (SPEC.md, motions)."""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Literal

from protocol.errors import Ignore, Invalid
from protocol.fields import Model
from protocol.ids import NOTHING, PublicKey, Round, Signature
from protocol.messages import ProposalBody, VoteBody
from protocol.money import TreasuryKeys, unbond, without_stake
from protocol.motions import (
    EndBody,
    FaultRecord,
    JoinRecord,
    LeaveRecord,
    ParamsBody,
    RotateRecord,
    SignedPass,
    SignedProposal,
    SignedVote,
    UpgradeBody,
)
from protocol.params import Params
from protocol.records import MAX_ROSTER, Member, Stamp
from protocol.rules import shuffled
from protocol.settlement import check_next, opened
from protocol.signing import verify
from protocol.state import RunState

Signatures = Sequence[tuple[int, Signature]]


Standing = Literal["active", "inactive", "short of stake", "joining", "leaving", "left", "expelled"]
"""How a member can stand; `inactive` is who was left out because it was absent."""


def join(state: RunState, record: JoinRecord) -> RunState:
    """A participant takes a place, from the next epoch on; its stake was checked. Raises Ignore or Invalid."""
    body = record.body
    place = state.place_of(body.peer)
    terms = 0 if place is None else state.seats.terms[place]
    if body.term != terms + 1:
        raise Ignore(f"a join of a peer that has joined {terms} times, for term {body.term}")
    check_vacancy(state, place)
    # Who is voted in may pay later, and is left out until then: nobody need pay before they know.
    if state.params.admission == "open" and body.stake < state.params.stake_min:
        raise Invalid(f"a join with a stake of {body.stake} tinybar; {state.params.stake_min} are needed")
    if body.account == state.money.treasury:
        raise Invalid("a join with the treasury as its account")
    member = Member(peer=body.peer, account=body.account)
    verify(member.key, "join", body, record.sig)
    if state.params.admission == "vote":
        assert state.open is not None, "a run without a round has no vacancy"
        signed = count_signatures(state, "join", body, record.signatures, state.open.members)
        if 2 * signed <= len(state.open.members):
            raise Invalid(f"a join with {signed} of {len(state.open.members)} signatures")
    elif record.signatures:
        raise Invalid("a join with signatures that nobody asked for")
    return seat(state, place, member) if place is not None else seat_anew(state, member)


def check_vacancy(state: RunState, place: int | None) -> None:
    """Check that a peer may take a place. Raises Ignore or Invalid."""
    if state.open is None:
        raise Ignore("the run has ended")
    if place is None and len(state.roster) >= MAX_ROSTER:
        raise Ignore(f"all {MAX_ROSTER} places are taken")
    if place is None:
        return
    if place in state.seats.expelled:
        raise Invalid("a join of a member that was thrown out")
    if place not in state.seats.vacant or place in state.seats.joining:
        raise Ignore("a join of a member")


def seat(state: RunState, place: int, member: Member) -> RunState:
    """Give a member that had left its old place."""
    roster = (*state.roster[:place], member, *state.roster[place + 1 :])
    terms = state.seats.terms
    seats = replace(
        state.seats,
        terms=(*terms[:place], terms[place] + 1, *terms[place + 1 :]),
        joining=state.seats.joining | {place},
    )
    return replace(state, roster=roster, seats=seats)


def seat_anew(state: RunState, member: Member) -> RunState:
    """Give a new member the next place."""
    place, seats, money = len(state.roster), state.seats, state.money
    return replace(
        state,
        roster=(*state.roster, member),
        absent=(*state.absent, 0),
        whereabouts=(*state.whereabouts, None),
        seats=replace(
            seats,
            terms=(*seats.terms, 1),
            vacant=seats.vacant | {place},
            joining=seats.joining | {place},
        ),
        money=replace(money, stakes=(*money.stakes, NOTHING)),
    )


def standing_of(state: RunState, place: int) -> Standing:
    """How the member at a place stands."""
    seats = state.seats
    if place in seats.expelled:
        return "expelled"
    if place in seats.joining:
        return "joining"
    if place in seats.vacant:
        return "left"
    if place in seats.leaving:
        return "leaving"
    if place not in state.staked:
        return "short of stake"
    return "inactive" if place in state.inactive else "active"


def leave(state: RunState, record: LeaveRecord) -> RunState:
    """A member leaves when the epoch is over. Raises Ignore or Invalid."""
    body, seats = record.body, state.seats
    if body.member >= len(state.roster):
        raise Invalid("a leave of nobody in the roster")
    verify(state.roster[body.member].key, "leave", body, record.sig)
    belongs = body.member in state.seated or body.member in seats.joining
    if state.open is None or not belongs or body.member in seats.leaving:
        raise Ignore("a leave of a member that has left, or the run has")
    if body.term != seats.terms[body.member]:
        raise Ignore(f"a leave of term {body.term}, which is over")
    return replace(state, seats=replace(seats, leaving=seats.leaving | {body.member}))


def amend(state: RunState, body: ParamsBody | UpgradeBody, signatures: Signatures) -> RunState:
    """The members change the rules, or the learner, from the next epoch on. Raises Ignore or Invalid."""
    kind = "params" if isinstance(body, ParamsBody) else "upgrade"
    check_amendment(state, kind, body, body.number, signatures)
    if isinstance(body, ParamsBody):
        new, now = body.params, upcoming(state)
        if (new.learner, new.initial) != (now.learner, now.initial):
            raise Invalid("new params that change the learner or the initial weights")
        if new.stake_min and state.money.treasury is None:
            raise Invalid("new params with a stake in a run without a treasury")
    amendment = body.params if isinstance(body, ParamsBody) else body.learner
    seats = replace(state.seats, amendments=body.number, pending=(*state.seats.pending, amendment))
    return replace(state, seats=seats)


def end(state: RunState, body: EndBody, signatures: Signatures) -> RunState:
    """The members end the run, with the open round. Raises Ignore or Invalid."""
    check_amendment(state, "end", body, body.number, signatures)
    return replace(state, seats=replace(state.seats, amendments=body.number, ending=True))


def check_amendment(state: RunState, kind: str, body: Model, number: int, signatures: Signatures) -> None:
    """Check that two thirds of the members with enough at stake sign. Raises Ignore or Invalid."""
    if state.open is None:
        raise Ignore("the run has ended")
    if number <= state.seats.amendments:
        raise Ignore(f"amendment {number} was decided before")
    if number > state.seats.amendments + 1:
        raise Invalid(f"amendment {number} comes before amendment {state.seats.amendments + 1}")
    voters = state.staked
    signed = count_signatures(state, kind, body, signatures, voters)
    if 3 * signed < 2 * len(voters):
        raise Invalid(f"a {kind} record with {signed} of {len(voters)} signatures; it needs two thirds")


def count_signatures(
    state: RunState, kind: str, body: Model, signatures: Signatures, allowed: Set[int]
) -> int:
    """How many of those who may sign a body have. Raises Invalid when a signature is not its member's.

    Who has lost their say since they signed is not counted, and spoils nothing.
    """
    for place, signature in signatures:
        if place >= len(state.roster):
            raise Invalid(f"a {kind} record signed by nobody in the roster")
        verify(state.roster[place].key, kind, body, signature)
    return sum(place in allowed for place, _ in signatures)


def rotate(state: RunState, record: RotateRecord, stamp: Stamp) -> RunState:
    """The treasury's keys are to change; a settlement of its own. Raises Ignore or Invalid."""
    body, money = record.body, state.money
    if money.treasury is None:
        raise Invalid("a rotation in a run without a treasury")
    if body.number <= money.rotations:
        raise Ignore(f"rotation {body.number} was decided before")
    if body.number > money.rotations + 1:
        raise Invalid(f"rotation {body.number} comes before rotation {money.rotations + 1}")
    if not set(body.keys) <= state.seated:
        raise Invalid("a rotation to the key of somebody who is no member")
    signed = count_signatures(state, "rotate", body, record.signatures, frozenset(money.keys.places))
    if signed < money.keys.required:
        raise Invalid(f"a rotation with {signed} of {money.keys.required} signatures")
    check_next(money, money.settlements + 1)
    keys = TreasuryKeys(body.required, body.keys)
    money = opened(replace(money, rotations=body.number), state.params, (), keys, stamp)
    return replace(state, money=money)


def fault(state: RunState, record: FaultRecord) -> RunState:
    """A member that contradicted itself loses its stake and is out. Raises Ignore or Invalid."""
    place = record.member
    if place >= len(state.roster):
        raise Invalid("a fault of nobody in the roster")
    key = state.roster[place].key
    for evidence in (record.first, record.second):
        check_evidence(state, evidence, place, key)
    first, second = record.first, record.second
    if first.body.round != second.body.round or first.body == second.body:
        raise Invalid("a fault whose evidence is not of one round, or says the same twice")
    if isinstance(first, SignedVote) != isinstance(second, SignedVote):
        raise Invalid("a fault of a vote and a turn: a member may have both in different roles")
    if place in state.seats.expelled:
        raise Ignore("a fault of a member that was thrown out before")
    if state.money.wound_up:
        raise Ignore("a fault after everything was paid back")
    seats = replace(
        state.seats,
        expelled=state.seats.expelled | {place},
        joining=state.seats.joining - {place},
        leaving=state.seats.leaving - {place},
    )
    return replace(state, seats=seats, money=without_stake(state.money, place))


def check_evidence(
    state: RunState, evidence: SignedProposal | SignedVote | SignedPass, place: int, key: PublicKey
) -> None:
    """Check that a member of this run signed something. Raises Invalid."""
    body = evidence.body
    if body.run != state.run:
        raise Invalid("a fault with evidence from another run")
    claimed = place
    if isinstance(body, ProposalBody):
        claimed = body.proposer
    elif isinstance(body, VoteBody):
        claimed = body.voter
    if claimed != place:
        raise Invalid("a fault with evidence against somebody else")
    verify(key, evidence.kind, body, evidence.sig)


def upcoming(state: RunState) -> Params:
    """The rules once all that is decided acts."""
    params = state.params
    for amendment in state.seats.pending:
        params = (
            amendment if isinstance(amendment, Params) else params.model_copy(update={"learner": amendment})
        )
    return params


def new_epoch(state: RunState, number: Round, stamp: Stamp) -> RunState:
    """What was decided acts, and the order is drawn anew: nobody could know it and still choose a key.

    number: the round that opens.
    """
    seats, money = state.seats, state.money
    for place in sorted(seats.leaving):
        money = unbond(money, place, Round(number - 1 + state.params.unbonding_rounds))
    state = replace(state, params=upcoming(state))
    taken = seats.joining - seats.leaving
    seats = replace(
        seats,
        vacant=(seats.vacant - taken) | seats.leaving,
        joining=frozenset(),
        leaving=frozenset(),
        pending=(),
    )
    return replace(
        state,
        seats=seats,
        money=money,
        absent=tuple(0 if place in taken else n for place, n in enumerate(state.absent)),
        inactive=state.inactive - taken,
        order=shuffled(len(state.roster), stamp.running_hash),
        cursor=0,
        epoch=state.epoch + 1,
    )
