"""A small world for tests of the protocol: keys, a genesis, signed bodies, and stamps as consensus gives."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import coincurve

from protocol.errors import ProtocolError
from protocol.fields import Model, canonical
from protocol.fold import read
from protocol.ids import (
    SECOND,
    AccountId,
    Digest,
    Nanoseconds,
    PeerId,
    Ppm,
    PublicKey,
    RunningHash,
    TopicId,
    base64url,
    digest_of,
    peer_id_of,
)
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Vote, VoteBody
from protocol.params import LearnerRef, Params
from protocol.records import (
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
    VerdictRecord,
    VoteRecord,
    entry_of,
    vote_entry_of,
)
from protocol.signing import sign
from protocol.state import OpenRound, RunState

TOPIC = TopicId("0.0.1001")
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
    learner = LearnerRef(name="stub", spec=blob("spec"))
    return Params(learner=learner, initial=blob("initial"), **changes)


def genesis(size: int, topic: TopicId = TOPIC, **changes: Any) -> Genesis:
    roster = tuple(Member(peer=PEERS[place], account=account(place)) for place in range(size))
    return Genesis(topic=topic, params=params(**changes), roster=roster)


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


class Run:
    """A run as one reader sees it, and the means to put records on its topic."""

    def __init__(self, size: int = 4, **changes: Any) -> None:
        self.topic = Topic()
        self.time: int = START
        self.genesis = genesis(size, **changes)
        self.state: RunState | None = None
        self.put(self.genesis)

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
            self.state = read(before, TOPIC, raw, stamp)
        except ProtocolError:
            assert self.state is before
            raise
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
            "gain": Ppm(0),
        }
        body = VoteBody(**(fields | changes))
        return Vote(body=body, signature=sign(SECRETS[voter if by is None else by], "vote", body))

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

    def present(self, member: int, by: int | None = None, **changes: Any) -> PresentRecord:
        fields = {"run": self.now.run, "round": self.current.number, "member": member}
        body = PresentBody(**(fields | changes))
        return PresentRecord(body=body, sig=sign(SECRETS[member if by is None else by], "present", body))

    def accept(self, name: str = "candidate") -> RunState:
        """Play the open round: everybody approves."""
        proposal = self.proposal(name)
        votes = self.votes(proposal, *[Choice.APPROVE] * len(self.voters))
        return self.put(verdict(proposal, votes, "accepted"))

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
    return sum(amount for _, amount in state.credits)


def fold(messages: Sequence[tuple[bytes, Stamp]]) -> RunState | None:
    """The state after the messages of a topic, those without effect skipped."""
    state: RunState | None = None
    for raw, stamp in messages:
        try:
            state = read(state, TOPIC, raw, stamp)
        except ProtocolError:
            continue
    return state
