"""A small world for tests of the protocol: keys, a genesis, signed bodies, and stamps as consensus gives."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import coincurve

from protocol.deposits import deposit_memo
from protocol.errors import ProtocolError
from protocol.fields import Model, canonical
from protocol.fold import lookup, read
from protocol.ids import (
    SECOND,
    AccountId,
    Digest,
    Nanoseconds,
    PeerId,
    Ppm,
    PublicKey,
    RunningHash,
    Tinybar,
    TopicId,
    base64url,
    digest_of,
    peer_id_of,
)
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Update, UpdateBody, Vote, VoteBody
from protocol.money import liabilities, total_of
from protocol.params import LearnerRef, Params
from protocol.parse import parse_record
from protocol.payments import FundRecord, TopupRecord
from protocol.records import (
    AddressBody,
    AddressRecord,
    CloseRecord,
    Genesis,
    Member,
    Outcome,
    PassBody,
    PassRecord,
    PresentBody,
    PresentRecord,
    ProposeRecord,
    Stamp,
    TreasuryEntry,
    VerdictRecord,
    VoteRecord,
    entry_of,
    vote_entry_of,
)
from protocol.signing import sign
from protocol.state import OpenRound, RunState
from protocol.transfers import SCHEDULED, Lookup, TransactionId, Transfer, matching

TOPIC = TopicId("0.0.1001")
TREASURY = AccountId("0.0.1002")
FUNDER = AccountId("0.0.1003")
COLLECTOR = AccountId("0.0.98")
FEE = Tinybar(1_000)
GAINS = {Choice.APPROVE: Ppm(50_000), Choice.REJECT: Ppm(-50_000)}
"""What voters say that they found, unless a test says otherwise."""
POOL = Tinybar(10**12)
"""What a run's pool holds unless a test says otherwise: more than it ever spends."""
START = Nanoseconds(1_700_000_000 * SECOND)
SECRETS = tuple(hashlib.sha256(b"test key %d" % i).digest() for i in range(40))


def blob(name: str) -> Digest:
    """The digest of a made-up blob."""
    return digest_of(name.encode())


def peer_of(secret: bytes) -> PeerId:
    return peer_id_of(PublicKey(coincurve.PrivateKey(secret).public_key.format()))


PEERS = tuple(peer_of(secret) for secret in SECRETS)


def account(place: int) -> AccountId:
    return AccountId(f"0.0.{2000 + place}")


def params(**changes: Any) -> Params:
    stub = {"learner": LearnerRef(name="stub", spec=blob("spec")), "initial": blob("initial")}
    return Params(**(stub | changes))


def genesis(size: int, topic: TopicId = TOPIC, **changes: Any) -> Genesis:
    roster = tuple(Member(peer=PEERS[place], account=account(place)) for place in range(size))
    treasury = TreasuryEntry(account=TREASURY, required=size // 2 + 1)
    return Genesis(topic=topic, params=params(**changes), roster=roster, treasury=treasury)


def running_hash(sequence: int, raw: bytes, before: bytes = b"") -> RunningHash:
    return RunningHash(base64url(hashlib.sha384(b"%d/%s/%s" % (sequence, before, raw)).digest()))


class Topic:
    """Gives stamps to what is submitted, as consensus does: sequence, time, running hash."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Stamp]] = []

    def put(self, raw: bytes, time: int) -> Stamp:
        before = self.messages[-1][1] if self.messages else None
        hash_before = before.running_hash.encode() if before else b""
        at = Nanoseconds(max(time, before.time + 1 if before else 0))
        sequence = len(self.messages) + 1
        stamp = Stamp(sequence, at, running_hash(sequence, raw, hash_before))
        self.messages.append((raw, stamp))
        return stamp


class Ledger:
    """The transfers that a mirror would show."""

    def __init__(self) -> None:
        self.transfers: list[Transfer] = []

    def put(
        self, time: int, payer: AccountId, moves: dict[AccountId, int], memo: str, **changes: Any
    ) -> TransactionId:
        """Make a transfer, charged to its payer; its id."""
        fee = changes.pop("fee", FEE)
        scheduled = SCHEDULED if payer == TREASURY else ""
        identity = TransactionId(f"{payer}-{time // SECOND}-{len(self.transfers):09}{scheduled}")
        moves = dict(moves)
        moves[payer] = moves.get(payer, 0) - fee
        moves[COLLECTOR] = moves.get(COLLECTOR, 0) + fee
        fields: dict[str, Any] = {
            "id": identity,
            "name": "CRYPTOTRANSFER",
            "result": "SUCCESS",
            "time": Nanoseconds(time),
            "memo": memo,
            "fee": fee,
            "moves": tuple(sorted(moves.items())),
        }
        self.transfers.append(Transfer(**(fields | changes)))
        return self.transfers[-1].id

    def find(self, wanted: Lookup | None) -> tuple[Transfer, ...]:
        """What a lookup gives."""
        return matching(self.transfers, wanted)

    def found(self, state: RunState | None, raw: bytes, stamp: Stamp) -> tuple[Transfer, ...]:
        """What a reader hands the fold with a message."""
        try:
            return self.find(lookup(state, parse_record(raw), stamp))
        except ProtocolError:
            return ()


class Run:
    """A run as one reader sees it, and the means to put records on its topic."""

    def __init__(self, size: int = 4, pool: int = 0, **changes: Any) -> None:
        self.topic = Topic()
        self.ledger = Ledger()
        self.time: int = START
        self.gains = GAINS
        self.genesis = genesis(size, **changes)
        self.state: RunState | None = None
        self.put(self.genesis)
        if pool:
            self.fund(pool)

    @property
    def now(self) -> RunState:
        assert self.state is not None
        return self.state

    @property
    def current(self) -> OpenRound:
        assert self.now.open is not None
        return self.now.open

    @property
    def voters(self) -> list[int]:
        """The members of the open round other than its proposer, in order."""
        return sorted(self.current.members - {self.current.proposer})

    def put(self, record: Model | bytes, at: int | None = None) -> RunState:
        """Put a record on the topic, a second after the one before or at a given time, and fold it in."""
        raw = record if isinstance(record, bytes) else canonical(record)
        self.time = self.time + SECOND if at is None else at
        stamp = self.topic.put(raw, self.time)
        before = self.state
        try:
            self.state = read(before, TOPIC, raw, stamp, self.ledger.found(before, raw, stamp))
        except ProtocolError:
            assert self.state is before
            raise
        assert is_conserved(self.state)
        return self.state

    def proposal(self, name: str = "candidate", by: int | None = None, **changes: Any) -> Proposal:
        """A proposal for the open round, right in all that is not changed, signed by its proposer."""
        current = self.current
        fields: dict[str, Any] = {
            "run": self.now.run,
            "round": current.number,
            "base": self.now.head,
            "candidate": blob(f"{name} {current.number}"),
            "size": 1000,
            "opening": current.opening,
            "contributors": (Contributor(account=account(current.proposer), share=Ppm(1_000_000)),),
            "proposer": current.proposer,
        }
        body = ProposalBody(**(fields | changes))
        return Proposal(
            body=body, signature=sign(SECRETS[current.proposer if by is None else by], "proposal", body)
        )

    def vote(
        self,
        on: Proposal,
        voter: int,
        choice: Choice = Choice.APPROVE,
        by: int | None = None,
        **changes: Any,
    ) -> Vote:
        """A vote on a proposal, signed by its voter."""
        fields: dict[str, Any] = {
            "run": self.now.run,
            "round": on.body.round,
            "proposal": on.body.digest(),
            "voter": voter,
            "choice": choice,
            "gain": self.gains.get(choice, Ppm(0)),
        }
        body = VoteBody(**(fields | changes))
        return Vote(body=body, signature=sign(SECRETS[voter if by is None else by], "vote", body))

    def update(self, contributor: int, by: int | None = None, **changes: Any) -> Update:
        """A member's update for the open round, signed by it."""
        fields: dict[str, Any] = {
            "run": self.now.run,
            "round": self.current.number,
            "base": self.now.head,
            "update": blob(f"update {contributor} {self.current.number}"),
            "size": 1000,
            "contributor": contributor,
        }
        body = UpdateBody(**(fields | changes))
        return Update(body=body, signature=sign(SECRETS[contributor if by is None else by], "update", body))

    def votes(self, proposal: Proposal, *choices: Choice) -> list[Vote]:
        """One vote for each choice, by the first voters in order."""
        return [
            self.vote(proposal, voter, choice) for voter, choice in zip(self.voters, choices, strict=False)
        ]

    def close(self, **changes: Any) -> CloseRecord:
        return CloseRecord(**({"run": self.now.run, "round": self.current.number} | changes))

    def pass_turn(self, by: int | None = None, **changes: Any) -> PassRecord:
        body = PassBody(**({"run": self.now.run, "round": self.current.number} | changes))
        return PassRecord(
            body=body, sig=sign(SECRETS[self.current.proposer if by is None else by], "pass", body)
        )

    def address(self, member: int, *addresses: str, by: int | None = None, **changes: Any) -> AddressRecord:
        """A member says where it listens."""
        fields = {"run": self.now.run, "round": self.current.number, "member": member, "addresses": addresses}
        body = AddressBody(**(fields | changes))
        return AddressRecord(body=body, sig=sign(SECRETS[member if by is None else by], "address", body))

    def present(self, member: int, by: int | None = None, **changes: Any) -> PresentRecord:
        fields = {"run": self.now.run, "round": self.current.number, "member": member}
        body = PresentBody(**(fields | changes))
        return PresentRecord(body=body, sig=sign(SECRETS[member if by is None else by], "present", body))

    def accept(self, name: str = "candidate") -> RunState:
        """Play the open round: everybody approves."""
        proposal = self.proposal(name)
        votes = self.votes(proposal, *[Choice.APPROVE] * len(self.voters))
        return self.put(verdict(proposal, votes, "accepted"))

    def pay(self, op: str, by: str, amount: int, payer: AccountId = FUNDER, **changes: Any) -> TransactionId:
        """A transfer to the treasury on the ledger, a second after what was last on the topic."""
        self.time += SECOND
        memo = deposit_memo(self.now.run, op, by)
        return self.ledger.put(self.time, payer, {payer: -amount, TREASURY: amount}, memo, **changes)

    def fund(self, amount: int) -> RunState:
        """Give money to the pool."""
        return self.put(
            FundRecord(
                run=self.now.run, account=FUNDER, amount=amount, transaction=self.pay("fund", FUNDER, amount)
            )
        )

    def topup(self, place: int, amount: int) -> RunState:
        """Give money to a member's stake."""
        transaction = self.pay("topup", PEERS[place], amount)
        return self.put(
            TopupRecord(run=self.now.run, peer=PEERS[place], amount=amount, transaction=transaction)
        )

    def expire(self) -> RunState:
        """Close the open round a second after its deadline."""
        return self.put(self.close(), at=self.current.deadline + SECOND)


def verdict(proposal: Proposal, votes: Iterable[Vote], outcome: Outcome) -> VerdictRecord:
    return VerdictRecord(
        proposal=entry_of(proposal), votes=tuple(vote_entry_of(v) for v in votes), outcome=outcome
    )


def vote_record(proposal: Proposal, vote: Vote) -> VoteRecord:
    return VoteRecord(proposal=entry_of(proposal), vote=vote_entry_of(vote))


def propose(proposal: Proposal) -> ProposeRecord:
    return ProposeRecord(proposal=entry_of(proposal))


def total(state: RunState) -> int:
    return sum(amount for _, amount in state.money.earned)


def is_conserved(state: RunState) -> bool:
    """Whether each tinybar of the deposits is somewhere, and none is owed to the pool."""
    money = state.money
    amounts = (money.pool, money.fees, *money.stakes, *(amount for _, amount in (*money.owed, *money.paid)))
    where = liabilities(money) + money.fees + total_of(money.paid)
    return where == money.deposits and all(amount >= 0 for amount in amounts)


def fold(messages: Sequence[tuple[bytes, Stamp]], ledger: Ledger | None = None) -> RunState | None:
    """The state after the messages of a topic, those without effect skipped."""
    state: RunState | None = None
    ledger = ledger or Ledger()
    for raw, stamp in messages:
        try:
            state = read(state, TOPIC, raw, stamp, ledger.found(state, raw, stamp))
        except ProtocolError:
            continue
    return state
