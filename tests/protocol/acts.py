"""Records of members and money for tests, right in all that is not changed, and the transfers they name."""

from collections.abc import Iterable
from typing import Any

from protocol.fields import Model
from protocol.ids import SECOND, AccountId, PeerId, Signature
from protocol.membership import upcoming
from protocol.messages import Proposal, Vote
from protocol.money import total_of
from protocol.motions import (
    EndBody,
    EndRecord,
    FaultRecord,
    JoinBody,
    JoinRecord,
    LeaveBody,
    LeaveRecord,
    ParamsBody,
    ParamsRecord,
    RotateBody,
    RotateRecord,
    SignedPass,
    SignedProposal,
    SignedVote,
    UpgradeBody,
    UpgradeRecord,
)
from protocol.params import LearnerRef, Params
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.records import PassRecord
from protocol.settlement import EXPIRY_MARGIN, payout_of
from protocol.signing import sign
from protocol.state import RunState
from protocol.transfers import TransactionId
from tests.protocol.world import PEERS, SECRETS, TREASURY, Run, account, blob


def secret_of(peer: PeerId) -> bytes:
    return SECRETS[PEERS.index(peer)]


def signatures(run: Run, kind: str, body: Model, places: Iterable[int]) -> tuple[tuple[int, Signature], ...]:
    """What members sign together, by place."""
    roster = run.now.roster
    return tuple((place, sign(secret_of(roster[place].peer), kind, body)) for place in sorted(set(places)))


# ---- members ----


def join(
    run: Run,
    who: int,
    signers: Iterable[int] | None = None,
    stake: int = 0,
    by: int | None = None,
    **changes: Any,
) -> JoinRecord:
    """A join of one of PEERS, signed by all of the round; with a stake its transfer is made."""
    transaction = run.pay("join", PEERS[who], stake) if stake else None
    place = run.now.place_of(PEERS[who])
    fields: dict[str, Any] = {
        "run": run.now.run,
        "peer": PEERS[who],
        "account": account(who),
        "stake": stake,
        "transaction": transaction,
        "term": 1 if place is None else run.now.seats.terms[place] + 1,
    }
    body = JoinBody(**(fields | changes))
    if signers is None:
        wanted = run.now.open is not None and run.now.params.admission == "vote"
        signers = run.current.members if wanted else ()
    sig = sign(SECRETS[who if by is None else by], "join", body)
    return JoinRecord(body=body, sig=sig, signatures=signatures(run, "join", body, signers))


def leave(run: Run, place: int, by: int | None = None, **changes: Any) -> LeaveRecord:
    terms = run.now.seats.terms
    term = terms[place] if place < len(terms) else 1
    body = LeaveBody(**({"run": run.now.run, "member": place, "term": term} | changes))
    return LeaveRecord(body=body, sig=sign(SECRETS[place if by is None else by], "leave", body))


def new_params(
    run: Run, signers: Iterable[int] | None = None, number: int | None = None, **changes: Any
) -> ParamsRecord:
    """Other params, signed by all who have a say."""
    number = run.now.seats.amendments + 1 if number is None else number
    params = Params(**(upcoming(run.now).model_dump() | changes))
    body = ParamsBody(run=run.now.run, number=number, params=params)
    signers = run.now.staked if signers is None else signers
    return ParamsRecord(body=body, signatures=signatures(run, "params", body, signers))


def upgrade(run: Run, signers: Iterable[int] | None = None, number: int | None = None) -> UpgradeRecord:
    number = run.now.seats.amendments + 1 if number is None else number
    learner = LearnerRef(name="stub", spec=blob(f"spec {number}"))
    body = UpgradeBody(run=run.now.run, number=number, learner=learner)
    signers = run.now.staked if signers is None else signers
    return UpgradeRecord(body=body, signatures=signatures(run, "upgrade", body, signers))


def end(run: Run, signers: Iterable[int] | None = None, number: int | None = None) -> EndRecord:
    number = run.now.seats.amendments + 1 if number is None else number
    body = EndBody(run=run.now.run, number=number)
    signers = run.now.staked if signers is None else signers
    return EndRecord(body=body, signatures=signatures(run, "end", body, signers))


def rotate(
    run: Run,
    keys: Iterable[int],
    required: int,
    signers: Iterable[int] | None = None,
    number: int | None = None,
) -> RotateRecord:
    number = run.now.money.rotations + 1 if number is None else number
    body = RotateBody(run=run.now.run, number=number, required=required, keys=tuple(keys))
    signers = run.now.money.keys.places if signers is None else signers
    return RotateRecord(body=body, signatures=signatures(run, "rotate", body, signers))


def evidence(signed: Proposal | Vote | PassRecord) -> SignedProposal | SignedVote | SignedPass:
    """What somebody signed, as a fault shows it."""
    if isinstance(signed, PassRecord):
        return SignedPass(body=signed.body, sig=signed.sig)
    kind = SignedProposal if isinstance(signed, Proposal) else SignedVote
    return kind(body=signed.body, sig=signed.signature)


def fault(
    member: int, first: Proposal | Vote | PassRecord, second: Proposal | Vote | PassRecord
) -> FaultRecord:
    return FaultRecord(member=member, first=evidence(first), second=evidence(second))


def equivocate(run: Run) -> FaultRecord:
    """A fault of the open round's proposer, who signed two proposals."""
    return fault(run.current.proposer, run.proposal("one"), run.proposal("two"))


def pass_turns(run: Run, rounds: int = 1) -> RunState:
    for _ in range(rounds):
        run.put(run.pass_turn(by=PEERS.index(run.now.roster[run.current.proposer].peer)))
    return run.now


def next_epoch(run: Run) -> RunState:
    """Pass until another epoch starts, or the run ends."""
    epoch = run.now.epoch
    while run.now.open is not None and run.now.epoch == epoch:
        pass_turns(run)
    return run.now


# ---- money ----


def settle(run: Run, number: int | None = None, **changes: Any) -> SettleRecord:
    number = run.now.money.settlements + 1 if number is None else number
    return SettleRecord(**({"run": run.now.run, "number": number} | changes))


def pay_out(run: Run, **changes: Any) -> TransactionId:
    """What the open settlement asks the treasury to do, done a second later."""
    payout = payout_of(run.now)
    assert payout is not None, "no settlement is open"
    run.time += SECOND
    moves: dict[AccountId, int] = {TREASURY: -total_of(payout.payees), **dict(payout.payees)}
    if payout.key is not None:
        changes = {"name": "CRYPTOUPDATEACCOUNT"} | changes
    moves, memo = changes.pop("moves", moves), changes.pop("memo", payout.memo)
    return run.ledger.put(changes.pop("at", run.time), changes.pop("payer", TREASURY), moves, memo, **changes)


def settled(run: Run, transaction: TransactionId, number: int | None = None, **changes: Any) -> SettledRecord:
    number = run.now.money.settlements if number is None else number
    return SettledRecord(**({"run": run.now.run, "number": number, "transaction": transaction} | changes))


def failed(run: Run, number: int | None = None, **changes: Any) -> FailedRecord:
    number = run.now.money.settlements if number is None else number
    return FailedRecord(**({"run": run.now.run, "number": number} | changes))


def expire(run: Run) -> RunState:
    """Close the open settlement after it expired, unless it took effect."""
    settlement = run.now.money.settlement
    assert settlement is not None, "no settlement is open"
    return run.put(failed(run), at=settlement.expires + EXPIRY_MARGIN + SECOND)
