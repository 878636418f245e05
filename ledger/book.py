"""What each record did to money and members, followed from state to state (SPEC.md, money)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from protocol.ids import NOTHING, AccountId, Nanoseconds, Round, Tinybar
from protocol.membership import upcoming
from protocol.messages import Choice
from protocol.money import Accounts, Money, Settlement, added, total_of
from protocol.motions import (
    EndRecord,
    FaultRecord,
    JoinRecord,
    LeaveRecord,
    ParamsRecord,
    RotateRecord,
    UpgradeRecord,
)
from protocol.params import Params
from protocol.parse import Record
from protocol.payments import FailedRecord, FundRecord, SettledRecord, SettleRecord, TopupRecord
from protocol.records import PassRecord, Stamp
from protocol.rounds import contradicted_voters, is_hurried
from protocol.rules import proposal_reward, scaled
from protocol.state import ClosedRound, OpenRound, RunState
from protocol.transfers import TransactionId

Losses = tuple[tuple[int, Tinybar], ...]
"""What members lost, by place; none is 0."""
Outcome = Literal["open", "settled", "failed"]
EVENTS = frozenset({"fund", "topup", "join", "leave", "params", "upgrade", "end", "fault", "rotate"})
"""Records of which there is an event."""


@dataclass(frozen=True, slots=True)
class RoundMoney:
    """What a round moved, in a run with money."""

    credits: Accounts
    """To whom, late votes included."""
    proposal: Tinybar
    """What its proposal earned its contributors."""
    votes: tuple[Tinybar, ...]
    """What each of its votes earned, in their order."""
    lost: Losses
    """Penalties taken when it closed: for its rejection, and for absence from the round before."""


@dataclass(frozen=True, slots=True)
class Balances:
    """Where the deposits are after a record that moved some."""

    sequence: int
    time: Nanoseconds
    deposits: Tinybar
    pool: Tinybar
    stakes: Tinybar
    unbonding: Tinybar
    reserve: Tinybar
    owed: Tinybar
    paid: Tinybar
    fees: Tinybar


@dataclass(frozen=True, slots=True)
class Event:
    """Money that came in, or a change of members, rules or keys; what does not apply is None."""

    sequence: int
    time: Nanoseconds
    op: str
    member: int | None = None
    account: AccountId | None = None
    amount: Tinybar | None = None
    """What was deposited; for a fault, what was lost."""
    number: int | None = None
    """Of the term, the amendment or the rotation."""
    transaction: TransactionId | None = None
    changes: tuple[tuple[str, str, str], ...] = ()
    """Name, old and new value of each rule that changes."""


@dataclass(frozen=True, slots=True)
class Course:
    """A settlement, or a rotation of keys, and what became of it."""

    settlement: Settlement
    outcome: Outcome = "open"
    transaction: TransactionId | None = None
    fee: Tinybar = NOTHING
    closed: int | None = None
    """The sequence number of the record that says so."""


@dataclass(slots=True)
class Book:
    """All that records did to money and members, in order."""

    rounds: dict[Round, RoundMoney] = field(default_factory=dict)
    hurried: set[Round] = field(default_factory=set)
    """Rounds after which a pass came so soon that only their proposers can be called absent."""
    courses: list[Course] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    balances: list[Balances] = field(default_factory=list)

    def take(self, before: RunState, record: Record, after: RunState, stamp: Stamp) -> None:
        """Note what a record did that took one state to another."""
        if isinstance(record, PassRecord) and before.last and is_hurried(before, "passed", stamp):
            self.hurried.add(before.last.number)
        if record.op in EVENTS:
            self.events.append(_event(before, record, after, stamp))
        if before.money.treasury is None:
            return
        self._note_round(before, after)
        self._note_settlement(before.money, record, after.money, stamp)
        now = balances(after.money, stamp)
        if not self.balances or replace(self.balances[-1], sequence=now.sequence, time=now.time) != now:
            self.balances.append(now)

    def lost(self) -> tuple[dict[int, int], dict[int, int]]:
        """What members lost, by place: in penalties, and for faults."""
        penalties: dict[int, int] = {}
        faults: dict[int, int] = {}
        for place, amount in (loss for each in self.rounds.values() for loss in each.lost):
            penalties[place] = penalties.get(place, 0) + amount
        for event in self.events:
            if event.op == "fault" and event.member is not None:
                faults[event.member] = event.amount or 0
        return penalties, faults

    def _note_round(self, before: RunState, after: RunState) -> None:
        last = after.last
        if last is None or last is before.last:
            return
        credits = gained(before.money.earned, after.money.earned)
        if before.open is not None and last.number == before.open.number:
            pool = Tinybar(after.money.pool + total_of(credits))
            votes = vote_rewards(before.open, last, before.params, pool)
            proposal = Tinybar(total_of(credits) - sum(votes))
            self.rounds[last.number] = RoundMoney(credits, proposal, votes, losses(before, after))
            return
        known = self.rounds[last.number]
        self.rounds[last.number] = replace(
            known,
            credits=added(known.credits, credits),
            votes=(*known.votes, Tinybar(total_of(credits))),
        )

    def _note_settlement(self, before: Money, record: Record, after: Money, stamp: Stamp) -> None:
        if isinstance(record, SettleRecord | RotateRecord) and after.settlement is not None:
            self.courses.append(Course(after.settlement))
        elif isinstance(record, SettledRecord | FailedRecord):
            fee = Tinybar(after.fees - before.fees)
            settled = isinstance(record, SettledRecord)
            self.courses[-1] = replace(
                self.courses[-1],
                outcome="settled" if settled else "failed",
                transaction=record.transaction if isinstance(record, SettledRecord) else None,
                fee=fee,
                closed=stamp.sequence,
            )


def balances(money: Money, stamp: Stamp) -> Balances:
    """Where the deposits are."""
    return Balances(
        sequence=stamp.sequence,
        time=stamp.time,
        deposits=money.deposits,
        pool=money.pool,
        stakes=Tinybar(sum(money.stakes)),
        unbonding=Tinybar(sum(part.amount for part in money.unbonding)),
        reserve=NOTHING if money.settlement is None else money.settlement.reserve,
        owed=Tinybar(total_of(money.owed)),
        paid=Tinybar(total_of(money.paid)),
        fees=money.fees,
    )


def gained(before: Accounts, after: Accounts) -> Accounts:
    """By how much accounts have grown."""
    if before is after:
        return ()
    known = dict(before)
    return tuple(
        (account, Tinybar(amount - known.get(account, 0)))
        for account, amount in after
        if amount != known.get(account, 0)
    )


def vote_rewards(
    current: OpenRound, closed: ClosedRound, params: Params, pool: Tinybar
) -> tuple[Tinybar, ...]:
    """What each vote that a round closed with earned, of a pool as it was then."""
    if closed.ending not in ("accepted", "rejected"):
        return (NOTHING,) * len(closed.votes)
    rewards = [params.reward_vote] * len(closed.votes)
    if closed.ending == "rejected":
        return scaled(rewards, pool)
    contradicted = contradicted_voters(current, closed.votes)
    gains = [
        vote.body.gain
        for vote in closed.votes
        if vote.body.voter not in contradicted and vote.body.choice is not Choice.UNAVAILABLE
    ]
    return scaled([proposal_reward(gains, len(current.members), params), *rewards], pool)[1:]


def losses(before: RunState, after: RunState) -> Losses:
    """What each member has less at stake, but for what a round that closed has released."""
    assert after.last is not None, "a round has closed"
    old, new = before.money, after.money
    if old.stakes == new.stakes and old.unbonding == new.unbonding:
        return ()
    held = [a - b for a, b in zip(_held(old), _held(new), strict=True)]
    for part in old.unbonding:
        if part.until <= after.last.number:
            held[part.place] -= part.amount
    return tuple((place, Tinybar(amount)) for place, amount in enumerate(held) if amount)


def _held(money: Money) -> Sequence[int]:
    held: list[int] = list(money.stakes)
    for part in money.unbonding:
        held[part.place] += part.amount
    return held


def _event(before: RunState, record: Record, after: RunState, stamp: Stamp) -> Event:
    event = Event(stamp.sequence, stamp.time, record.op)
    match record:
        case FundRecord():
            return replace(
                event, account=record.account, amount=record.amount, transaction=record.transaction
            )
        case TopupRecord():
            place = after.place_of(record.peer)
            return replace(event, member=place, amount=record.amount, transaction=record.transaction)
        case JoinRecord():
            body = record.body
            return replace(
                event,
                member=after.place_of(body.peer),
                account=body.account,
                amount=body.stake,
                number=body.term,
                transaction=body.transaction,
            )
        case LeaveRecord():
            return replace(event, member=record.body.member, number=record.body.term)
        case FaultRecord():
            lost = _held(before.money)[record.member] - _held(after.money)[record.member]
            return replace(event, member=record.member, amount=Tinybar(lost))
        case ParamsRecord() | UpgradeRecord():
            return replace(event, number=record.body.number, changes=_changes(before, after))
        case EndRecord():
            return replace(event, number=record.body.number)
        case RotateRecord():
            old, new = before.money.keys, record.body
            words = [f"{n} of {', '.join(map(str, k))}" for n, k in ((old.required, old.places),
                     (new.required, new.keys))]  # fmt: skip
            return replace(event, number=new.number, changes=(("keys", words[0], words[1]),))
    return event


def _changes(before: RunState, after: RunState) -> tuple[tuple[str, str, str], ...]:
    old, new = upcoming(before).model_dump(mode="json"), upcoming(after).model_dump(mode="json")
    return tuple((name, _word(old[name]), _word(new[name])) for name in new if old[name] != new[name])


def _word(value: object) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
