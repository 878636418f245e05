"""A run of 200 rounds in which everything happens that a record can say, as a mirror would show it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from ledger.pages import nanoseconds
from protocol.errors import ProtocolError
from protocol.fields import Model, canonical
from protocol.ids import SECOND, AccountId, Ppm, PublicKey
from protocol.messages import Choice, Contributor, Proposal
from protocol.parse import parse_record
from protocol.records import PassRecord
from protocol.rules import count_of, tally
from protocol.settlement import is_due, wind_up_time
from protocol.state import RunState
from tests.ledger.chains import Chunk
from tests.ledger.moneyed import MoneyedRun
from tests.protocol import acts
from tests.protocol.world import TREASURY, account, propose, verdict, vote_record

ROUNDS = 200
CHUNK_BYTES = 1_024
STRANGER = account(30)
"""Earns a share of some proposals, and does not take its money when it is paid alone."""
RULES: dict[str, Any] = {
    "min_approvals": 2,
    "round_window": 300,
    "inactive_after": 2,
    "stake_min": 100_000,
    "unbonding_rounds": 5,
    "reward_proposal": 100_000,
    "reward_per_ppm": 1,
    "reward_vote": 1_000,
    "penalty_rejected": 50_000,
    "penalty_absent": 500,
    "settle_every": 10,
    "settle_window": 100,
    "settle_fee": 10_000,
}


@dataclass(frozen=True, slots=True)
class Recording:
    """What a mirror would return of a run."""

    entries: tuple[dict[str, Any], ...]
    spans: tuple[tuple[int, int], ...]
    """For each message, where its chunks begin among the entries, and where they end."""
    bodies: tuple[bytes, ...]
    """Of each message, whole."""
    transactions: tuple[dict[str, Any], ...]
    account: dict[str, Any]
    """The treasury's, as it is in the end."""
    state: RunState


class RecordedRun(MoneyedRun):
    """A run whose long records are chunked, each payer another than that of its neighbours."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.bodies: list[bytes] = []
        super().__init__(7, pool=0, **RULES)

    def put(self, record: Model | bytes, at: int | None = None) -> RunState:
        raw = record if isinstance(record, bytes) else canonical(record)
        start, step = len(self.entries), self.step(at)
        pieces = [raw[n : n + CHUNK_BYTES] for n in range(0, len(raw), CHUNK_BYTES)]
        for number, piece in enumerate(pieces, 1):
            chunk = None if len(pieces) == 1 else Chunk(start + 1, number, len(pieces))
            payer = AccountId(f"0.0.{2000 + len(self.spans) % 7}")
            entry = self.chain.add(piece, payer, chunk, step if number == 1 else 1_000)
        self.spans.append((start, len(self.entries)))
        self.bodies.append(raw)
        return self.fold(raw, entry)

    def put_in_vain(self, record: Model | bytes) -> None:
        """Put something on the topic that has no effect."""
        before = self.state
        with suppress(ProtocolError):
            self.put(record)
        assert self.state is before
        self.time = nanoseconds(self.entries[-1]["consensus_timestamp"])

    # ---- rounds ----

    def decide(self, proposal: Proposal, choice: Choice, silent: Iterable[int] = ()) -> RunState:
        """End the open round by a verdict on all votes but those of the silent."""
        votes = [self.vote(proposal, voter, choice) for voter in self.voters if voter not in set(silent)]
        outcome = tally(
            count_of([vote.body.choice for vote in votes], len(self.current.members)), self.now.params
        )
        assert outcome is not None
        return self.put(verdict(proposal, votes, outcome))

    def shared(self) -> Proposal:
        """A proposal with two contributors, one of whom is no member."""
        shares = ((account(self.current.proposer), 700_001), (STRANGER, 299_999))
        return self.proposal(contributors=tuple(Contributor(account=a, share=Ppm(s)) for a, s in shares))

    def leave_out(self) -> None:
        """A verdict that leaves out a vote, which comes late."""
        proposal, left_out = self.proposal(), self.voters[0]
        late = self.vote(proposal, left_out)
        self.decide(proposal, Choice.APPROVE, [left_out])
        self.put(vote_record(proposal, late))

    def on_topic(self) -> None:
        """A round that is decided on the topic, after its deadline; one voter says unavailable, one nothing."""
        proposal = self.proposal()
        self.put(propose(proposal))
        for voter in self.voters[1:-1]:
            self.put(vote_record(proposal, self.vote(proposal, voter)))
        self.put(vote_record(proposal, self.vote(proposal, self.voters[-1], Choice.UNAVAILABLE)))
        self.expire()

    def contradict(self) -> None:
        """A voter puts two votes on the topic, in a round that a verdict ends."""
        proposal, voter = self.proposal(), self.voters[1]
        for choice in (Choice.APPROVE, Choice.REJECT):
            self.put(vote_record(proposal, self.vote(proposal, voter, choice)))
        self.decide(proposal, Choice.APPROVE, [voter])
        self.put_in_vain(verdict(proposal, [], "neutral"))

    def play(self) -> None:
        """The open round, in a way that depends on its number."""
        ways: tuple[Callable[[], object], ...] = (
            lambda: self.decide(self.proposal(), Choice.APPROVE),
            self.leave_out,
            lambda: self.decide(self.proposal(), Choice.REJECT),
            lambda: self.decide(self.proposal(), Choice.ABSTAIN),
            lambda: acts.pass_turns(self),
            self.on_topic,
            lambda: self.decide(self.shared(), Choice.APPROVE),
            self.expire,
            self.contradict,
            lambda: self.decide(self.proposal(), Choice.APPROVE, [self.voters[2]]),
        )
        ways[self.current.number % len(ways)]()

    # ---- money ----

    def settle(self, **changes: Any) -> None:
        """Pay all that can be paid now, one settlement after the other."""
        while is_due(self.now, self.time + SECOND):
            self.put(acts.settle(self))
            settlement = self.now.money.settlement
            assert settlement is not None
            alone = dict(settlement.payees).keys() == {STRANGER}
            if (changes or alone) and self.now.open is not None:
                refusal = {"result": "INVALID_ACCOUNT_ID", "moves": {}} | changes
                acts.pay_out(self, **refusal)
                self.put(acts.failed(self))
                changes = {}
            else:
                self.put(acts.settled(self, acts.pay_out(self)))

    def expire_payment(self) -> None:
        """Open a settlement that too few sign."""
        self.put(acts.settle(self))
        acts.expire(self)

    def dust(self, amount: int) -> None:
        """Money that comes in with a memo that says nothing."""
        self.time += SECOND
        self.ledger.put(self.time, STRANGER, {STRANGER: -amount, TREASURY: amount}, "for you")

    def rotate(self) -> None:
        """Hand the treasury on to who is seated now."""
        seated = sorted(self.now.seated)
        self.put(acts.rotate(self, seated, len(seated) // 2 + 1))
        self.put(acts.settled(self, acts.pay_out(self)))

    # ---- members ----

    def accuse(self, how: str) -> None:
        """Throw out a member that contradicted itself in the open round."""
        place, proposal = self.current.proposer, self.proposal()
        if how == "votes":
            place = self.voters[-1]
            votes = [self.vote(proposal, place, choice) for choice in (Choice.APPROVE, Choice.REJECT)]
            self.put(acts.fault(place, *votes))
        else:
            second: Proposal | PassRecord = self.proposal("two") if how == "proposals" else self.pass_turn()
            self.put(acts.fault(place, proposal, second))

    def be_silent(self) -> None:
        """A member is absent twice, is left out, and says that it is back."""
        silent = self.voters[0]
        while silent not in self.now.inactive:
            if silent == self.current.proposer:
                self.expire()
            else:
                self.decide(self.proposal(), Choice.APPROVE, [silent])
        self.put(self.present(silent))
        self.put(self.address(silent, "/ip4/192.0.2.7/tcp/4101"))

    def finish(self) -> None:
        """The last round, what comes late, and the last payments."""
        proposal, (voter, other, *_) = self.proposal(), self.voters
        self.put(propose(proposal))
        self.put(vote_record(proposal, self.vote(proposal, voter)))
        self.put(vote_record(proposal, self.vote(proposal, other)))
        self.put(acts.end(self))
        late = [self.vote(proposal, place) for place in self.voters[-2:]]
        self.decide(proposal, Choice.APPROVE, self.voters[-2:])
        assert self.now.open is None
        for vote in late:
            self.put(vote_record(proposal, vote))
        self.put(acts.fault(other, self.vote(proposal, other), self.vote(proposal, other, Choice.REJECT)))
        self.topup(voter, 7_000)
        self.topup(self.now.last.proposer if self.now.last else 0, 6_000)
        self.fund(5_000)
        due = wind_up_time(self.now)
        assert due is not None
        self.time = due
        self.settle()
        self.put_in_vain(b"something of another application")


@cache
def recorded() -> Recording:
    """The run, played once."""
    run = RecordedRun()
    run.fund(100_000_000)
    for place in range(7):
        run.topup(place, 2_000_000)
    special: dict[int, tuple[Callable[[], object], ...]] = {
        5: (lambda: run.put(acts.join(run, 7, stake=1_000_000)),),
        8: (lambda: run.fund(3_000_000),),
        22: (lambda: run.put(acts.leave(run, 3)),),
        26: (lambda: run.dust(77),),
        30: (run.be_silent,),
        48: (lambda: run.put(acts.join(run, 3, stake=1_000_000)),),
        52: (lambda: run.accuse("votes"),),
        60: (lambda: run.put(acts.join(run, 8)),),
        61: (lambda: run.topup(8, 900_000),),
        72: (lambda: run.accuse("proposals"),),
        80: (lambda: run.put(acts.new_params(run, settle_window=120)),),
        86: (lambda: run.put(acts.upgrade(run)),),
        92: (run.rotate,),
        104: (lambda: run.accuse("pass"),),
        112: (lambda: run.settle(result="INVALID_ACCOUNT_ID"),),
        131: (run.expire_payment,),
        150: (lambda: run.topup(3, 400_000),),
    }
    while run.current.number < ROUNDS:
        number = run.current.number
        for act in special.pop(number, ()):
            act()
        if number % 10 == 1 and number > 10:
            run.settle()
        if run.current.number < ROUNDS:
            run.play()
    assert not special, f"left out: {sorted(special)}"
    run.finish()
    return recording(run)


def recording(run: RecordedRun) -> Recording:
    """What a mirror would show of a run as it is now."""
    keys = run.now.money.keys
    members = [run.now.roster[place].key for place in keys.places]
    page = {
        "account": TREASURY,
        "balance": {
            "balance": sum(transfer.moved(TREASURY) for transfer in run.ledger.transfers),
            "timestamp": run.transactions[-1]["consensus_timestamp"],
        },
        "key": {"_type": "ProtobufEncoded", "key": shared_key_of(keys.required, members).hex()},
    }
    return Recording(
        tuple(run.entries), tuple(run.spans), tuple(run.bodies), tuple(run.transactions), page, run.now
    )


def shared_key_of(required: int, keys: Iterable[PublicKey]) -> bytes:
    """A threshold key as the ledger has it (HAPI basic_types.proto, Key)."""
    listed = b"".join(framed(b"\x0a", framed(b"\x3a", bytes(key))) for key in keys)
    return framed(b"\x2a", b"\x08" + varint(required) + framed(b"\x12", listed))


def framed(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([128 | number % 128]) + varint(number // 128)


def ops_of(recording: Recording) -> set[str]:
    """The ops of all records in a recording."""
    found = set()
    for body in recording.bodies:
        with suppress(ProtocolError):
            found.add(parse_record(body).op)
    return found
