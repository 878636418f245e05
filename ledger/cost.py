"""What a run costs on Hedera, in US dollars, before it starts (docs/costs.md).

Money here is integer microdollars: Hedera's prices are fixed in dollars, and paid in hbar at the day's rate.
Records are measured, not guessed: the longest that a run's own sizes allow, in their canonical bytes.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import NewType

from ledger.outbox import CHUNK, MAX_PAYEES
from protocol.fields import canonical
from protocol.ids import (
    AccountId,
    Digest,
    Ppm,
    PublicKey,
    Round,
    RunningHash,
    Signature,
    Tinybar,
    TopicId,
    base64url,
    peer_id_of,
)
from protocol.messages import Choice, Opening
from protocol.params import LearnerRef, Params
from protocol.records import Genesis, Member, ProposalEntry, VerdictRecord, VoteEntry, VoteRecord

Microdollars = NewType("Microdollars", int)
"""Money: one millionth of a US dollar."""

SUBMIT = Microdollars(800)
"""One chunk of a topic message, since January 2026."""
TOPIC_CREATE = Microdollars(10_000)
"""A topic, without its keys."""
TOPIC_KEY = Microdollars(10_000)
"""Each key that it keeps: the founder's and every member's."""
ACCOUNT_CREATE = Microdollars(50_000)
"""An account: a member's, or the treasury."""
SCHEDULE_CREATE = Microdollars(10_000)
"""A schedule that holds a settlement until enough members have signed it."""
SCHEDULE_SIGN = Microdollars(1_000)
"""Another member's signature on it."""
TRANSFER = Microdollars(100)
"""The transfer to at most nine members that the signatures set off."""
SETTLE_EVERY = 10
"""Verdicts after which what is owed is paid, unless a run says otherwise."""
LATE_VOTES = Ppm(100_000)
"""The share of votes that are assumed to miss their verdict, and to be put on the topic by their voters."""
TINYBAR_PER_HBAR = 100_000_000

_ENTITY = "0.0.12345678"
_ACCOUNT = AccountId(_ENTITY)
_DIGEST = Digest(base64url(bytes(32)))
_SIGNATURE = Signature(base64url(bytes(64)))
_GAIN = Ppm(-12_345)
_SIZE = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """Some transactions of one kind."""

    what: str
    count: int
    price: Microdollars
    """Of each."""

    @property
    def cost(self) -> Microdollars:
        """Of all of them."""
        return Microdollars(self.count * self.price)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to cost, with what it is made of."""

    peers: int
    rounds: int
    genesis_bytes: int
    verdict_bytes: int
    """Of a verdict with every other peer's vote."""
    vote_bytes: int
    founding: tuple[Item, ...]
    """Paid by the founder, once."""
    running: tuple[Item, ...]
    """Paid by the participants, over all rounds; the transfers of settlements by the treasury."""

    @property
    def founding_cost(self) -> Microdollars:
        """Of founding."""
        return _sum(self.founding)

    @property
    def running_cost(self) -> Microdollars:
        """Of all rounds."""
        return _sum(self.running)

    @property
    def round_cost(self) -> Microdollars:
        """Of one round on average, rounded up."""
        return Microdollars(ceil(Fraction(self.running_cost, self.rounds)))

    @property
    def participant_cost(self) -> Microdollars:
        """Of all rounds for one participant on average, rounded up: turns, and so fees, go round."""
        return Microdollars(ceil(Fraction(self.running_cost, self.peers)))

    @property
    def total(self) -> Microdollars:
        """Of everything."""
        return Microdollars(self.founding_cost + self.running_cost)


def estimate(peers: int, rounds: int, accounts: int = 0, settle_every: int = SETTLE_EVERY) -> Estimate:
    """The expected cost of a run in which every round ends in a verdict.

    accounts: of members, still to be created. settle_every: verdicts to a settlement; with 0 no money is paid,
    and there is no treasury.
    """
    genesis = len(canonical(sample_genesis(peers, rounds)))
    verdict = len(canonical(sample_verdict(peers, rounds)))
    vote = len(canonical(sample_vote(peers, rounds)))
    late = ceil(Fraction(rounds * (peers - 1) * LATE_VOTES, 1_000_000))
    founding = [
        Item("topic", 1, TOPIC_CREATE),
        Item("keys that may write to it", peers + 1, TOPIC_KEY),
        Item("chunks of the genesis record", chunks(genesis), SUBMIT),
    ]
    if accounts:
        founding.append(Item("accounts", accounts, ACCOUNT_CREATE))
    if settle_every:
        founding.append(Item("treasury", 1, ACCOUNT_CREATE))
    running = (
        Item("chunks of verdicts", rounds * chunks(verdict), SUBMIT),
        Item("chunks of late votes", late * chunks(vote), SUBMIT),
        *_settling(peers, settlements(peers, rounds, settle_every)),
    )
    return Estimate(peers, rounds, genesis, verdict, vote, tuple(founding), running)


def settlements(peers: int, rounds: int, settle_every: int) -> int:
    """Payouts of a run in which all peers are owed something each time: of more than nine, one after the other."""
    return rounds // settle_every * ceil(Fraction(peers, MAX_PAYEES)) if settle_every else 0


def _settling(peers: int, count: int) -> tuple[Item, ...]:
    if not count:
        return ()
    signers = peers // 2 + 1
    return (
        Item("records of settlements", 2 * count, SUBMIT),
        Item("schedules of settlements", count * signers, SCHEDULE_CREATE),
        Item("signatures of settlements", count * (signers - 1), SCHEDULE_SIGN),
        Item("transfers of settlements", count, TRANSFER),
    )


def chunks(size: int) -> int:
    """Transactions that a record of so many bytes takes."""
    return -(-size // CHUNK)


def in_tinybar(cost: Microdollars, microdollars_per_hbar: Microdollars) -> int:
    """What that is in tinybar at a rate, rounded up."""
    return -(-cost * TINYBAR_PER_HBAR // microdollars_per_hbar)


def sample_genesis(peers: int, rounds: int) -> Genesis:
    """A genesis record as long as a run's with so many peers; it founds nothing."""
    learner = LearnerRef(name="driving", spec=_DIGEST)
    params = Params(
        learner=learner,
        initial=_DIGEST,
        round_window=600,
        max_rounds=rounds,
        reward_proposal=Tinybar(10_000_000),
        reward_vote=Tinybar(1_000_000),
    )
    keys = (PublicKey(b"\x02" + number.to_bytes(32, "big")) for number in range(peers))
    roster = tuple(Member(peer=peer_id_of(key), account=_ACCOUNT) for key in keys)
    return Genesis(topic=TopicId(_ENTITY), params=params, roster=roster)


def sample_verdict(peers: int, rounds: int) -> VerdictRecord:
    """A verdict with the votes of all others, as long as the last round's."""
    votes = tuple(_vote(voter) for voter in range(1, peers))
    return VerdictRecord(proposal=_proposal(rounds), votes=votes, outcome="accepted")


def sample_vote(peers: int, rounds: int) -> VoteRecord:
    """A vote that its voter puts on the topic itself, in the last round."""
    return VoteRecord(proposal=_proposal(rounds), vote=_vote(peers - 1))


def _vote(voter: int) -> VoteEntry:
    return (voter, Choice.APPROVE, _GAIN, _SIGNATURE)


def _proposal(rounds: int) -> ProposalEntry:
    opening = Opening(
        sequence=max(1_000, 2 * rounds), running_hash=RunningHash(base64url(bytes(48))), state=_DIGEST
    )
    return ProposalEntry(
        round=Round(rounds),
        base=_DIGEST,
        candidate=_DIGEST,
        size=_SIZE,
        opening=opening,
        contributors=((_ACCOUNT, Ppm(1_000_000)),),
        proposer=0,
        sig=_SIGNATURE,
    )


def _sum(items: tuple[Item, ...]) -> Microdollars:
    return Microdollars(sum(item.cost for item in items))
