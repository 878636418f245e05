"""Several participants under virtual time: step's effects interpreted, faults drawn from a schedule."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from protocol.deposits import deposit_memo
from protocol.errors import Ignore, ProtocolError
from protocol.fields import canonical
from protocol.ids import SECOND, Digest, Nanoseconds, Ppm, Tinybar
from protocol.messages import Choice, Proposal, ProposalBody, Vote
from protocol.payments import FundRecord
from protocol.records import Stamp, VoteRecord, proposal_of, vote_entry_of, vote_of
from protocol.settlement import EXPIRY_MARGIN
from protocol.signing import sign
from protocol.state import RunState
from protocol.step import step
from protocol.timing import alarm
from protocol.transfers import Transfer
from protocol.view import (
    Adopt,
    CaughtUp,
    Cosign,
    Event,
    Executed,
    Fetch,
    Fetched,
    FetchingFailed,
    PeerUp,
    Received,
    Recorded,
    Score,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Signed,
    Submit,
    Tick,
    Train,
    Trained,
    TrainingFailed,
    View,
    kind_of,
    slot_of,
)
from tests.protocol.world import (
    FUNDER,
    PEERS,
    SECRETS,
    START,
    TOPIC,
    TREASURY,
    Ledger,
    Topic,
    blob,
    genesis,
)

MILLISECOND = SECOND // 1000
LATENCY = 4 * SECOND
"""From a submission to its consensus time, and again to its readers, at most."""


@dataclass(frozen=True)
class Schedule:
    """What goes wrong, in percent and seconds, until everything heals."""

    seed: int = 0
    size: int = 4
    silent: frozenset[int] = frozenset()
    faulty: frozenset[int] = frozenset()
    """Places that sign different proposals and votes for different readers, for ever."""
    loss: int = 0
    duplication: int = 0
    delay: int = 1
    """Seconds a message, a training or a comparison may take, at most."""
    failures: int = 0
    """Percent of trainings, comparisons and fetches that fail."""
    restarts: tuple[tuple[int, int], ...] = ()
    """When, and which place loses its view and keeps its journal and blobs."""
    heal: int = 0
    """Seconds after which nothing goes wrong any more, but the silent stay silent."""
    pool: int = 0
    """Tinybar that the run is funded with."""
    refusals: int = 0
    """Percent of payments that the ledger executes in vain, and as many for which a signature is missing."""
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Node:
    """One participant: its view, what survives a restart, and what it has done."""

    place: int
    skew: int
    view: View
    journal: dict[tuple[str, int], Any] = field(default_factory=dict)
    store: set[Digest] = field(default_factory=lambda: {blob("initial")})
    life: int = 0
    read: int = 0
    armed: int = 0
    asked: set[tuple[int, str, int]] = field(default_factory=set)
    done: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    """Effects by life, round and name."""


class Simulation:
    """Runs until a number of rounds is over. Time is virtual and starts at START."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.random = Random(schedule.seed)
        self.topic = Topic()
        self.ledger = Ledger()
        self.signers: dict[int, set[int]] = {}
        """Who has signed each settlement on the ledger."""
        self.found: dict[int, Recorded] = {}
        self.executed: dict[int, Transfer] = {}
        self.now: int = START
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.submitted: list[tuple[int, int, Any]] = []
        """Time, place and record of all submissions."""
        places = range(schedule.size)
        self.nodes = [
            Node(p, self.random.randint(-400, 400) * MILLISECOND, View(PEERS[p], TOPIC)) for p in places
        ]
        self.states: list[tuple[Stamp, RunState]] = []
        self.reader = View(PEERS[39], TOPIC)
        """Somebody who takes no part and reads the topic as it grows."""
        self.publish(canonical(genesis(schedule.size, **schedule.params)), honest=True)
        if schedule.pool:
            self.fund(schedule.pool)
        for node in self.alive:
            self.at(0, lambda node=node: self.restart(node))
        for when, place in schedule.restarts:
            if place < schedule.size and self.nodes[place] in self.alive:
                self.at(when * SECOND, lambda node=self.nodes[place]: self.restart(node))

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.place not in self.schedule.silent]

    @property
    def healed(self) -> bool:
        return self.now >= START + self.schedule.heal * SECOND

    @property
    def state(self) -> RunState:
        return self.states[-1][1]

    def rounds(self) -> int:
        """Rounds that are over."""
        return sum(getattr(self.state.totals, name) for name in self.state.totals.__slots__)

    def at(self, after: int, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + after, self.count, action))

    def run(self, rounds: int, limit: int = 20_000) -> "Simulation":
        """Until so many rounds are over. Fails when that takes more events than any honest run needs."""
        for _ in range(limit):
            if self.rounds() >= rounds:
                return self
            assert self.advance(), "everybody waits for ever"
        raise AssertionError(f"{limit} events and only {self.rounds()} rounds")

    def advance(self) -> bool:
        """Do what is next; False when nothing is left to do."""
        if not self.heap:
            return False
        self.now, _, action = heapq.heappop(self.heap)
        action()
        return True

    def chance(self, percent: int) -> bool:
        return not self.healed and self.random.randrange(100) < percent

    def delay(self) -> int:
        most = 1 if self.healed else max(1, self.schedule.delay)
        return self.random.randint(1, most * 1000) * MILLISECOND

    # ---- one participant ----

    def restart(self, node: Node) -> None:
        node.life += 1
        node.view, node.read = View(PEERS[node.place], TOPIC), 0
        self.catch_up(node, len(self.topic.messages))
        self.feed(node, CaughtUp())
        for other in self.alive:
            if other is not node and other.life:
                self.feed(other, PeerUp(PEERS[node.place]))
                self.feed(node, PeerUp(PEERS[other.place]))

    def catch_up(self, node: Node, end: int) -> None:
        while node.read < end:
            _, stamp = self.topic.messages[node.read]
            node.read += 1
            self.feed(node, self.found[stamp.sequence])

    def feed(self, node: Node, event: Event) -> None:
        local = Nanoseconds(self.now + node.skew)
        before = node.view
        try:
            node.view, effects = step(before, event, local)
        except ProtocolError as error:
            assert node.view is before
            honest = not isinstance(event, Received) or self.is_honest(PEERS.index(event.sender))
            if honest and not isinstance(error, Ignore):
                raise AssertionError(f"an honest participant is blamed: {error}") from error
            return  # the alarm that is set stays set
        for effect in effects:
            self.interpret(node, effect)
        due = alarm(node.view, local)
        assert due is None or due > local
        node.armed += 1
        if due is not None:
            armed, life = node.armed, node.life
            self.at(due - local, lambda: self.tick(node, armed, life))

    def tick(self, node: Node, armed: int, life: int) -> None:
        if (node.armed, node.life) == (armed, life):
            self.feed(node, Tick())

    def later(self, node: Node, event: Event, after: int) -> None:
        life = node.life
        self.at(after, lambda: self.feed(node, event) if node.life == life else None)

    # ---- effects ----

    def interpret(self, node: Node, effect: Any) -> None:
        number = node.view.open.number if node.view.open else 0
        name = type(effect).__name__
        if isinstance(effect, Submit):
            name = effect.record.op
        node.done[node.life, number, name] += 1
        match effect:
            case Train():
                self.train(node, effect)
            case Fetch():
                self.fetch(node, effect)
            case Score():
                self.score(node, effect)
            case Sign():
                self.sign(node, effect)
            case Send():
                self.send(node, effect)
            case Submit():
                self.submitted.append((self.now, node.place, effect.record))
                self.submit(node, effect.record)
            case Adopt():
                assert effect.head in node.store
            case Cosign():
                self.cosign(node, effect)

    def train(self, node: Node, effect: Train) -> None:
        assert effect.head in node.store
        if self.chance(self.schedule.failures):
            self.later(node, TrainingFailed(effect.round), self.delay())
            return
        candidate = blob(f"candidate {effect.round} {node.place} {self.count}")
        node.store.add(candidate)
        self.later(node, Trained(effect.round, effect.head, candidate, 1000), self.delay())

    def fetch(self, node: Node, effect: Fetch) -> None:
        alive = {PEERS[other.place]: other for other in self.alive}
        holders = [node, *(alive[peer] for peer in effect.sources if peer in alive)]
        assert PEERS[node.place] not in effect.sources
        there = any(effect.digest in holder.store for holder in holders)
        if not there or self.chance(self.schedule.failures):
            self.later(node, FetchingFailed(effect.digest), self.delay())
            return
        node.store.add(effect.digest)
        self.later(node, Fetched(effect.digest), self.delay())

    def score(self, node: Node, effect: Score) -> None:
        assert {effect.head, effect.candidate} <= node.store
        if self.chance(self.schedule.failures):
            self.later(node, ScoringFailed(effect.round, effect.candidate), self.delay())
            return
        choice = self.random.choice([Choice.APPROVE, Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN])
        self.later(node, Scored(effect.round, effect.candidate, choice, Ppm(0)), self.delay())

    def sign(self, node: Node, effect: Sign) -> None:
        slot, number = slot_of(effect.body), effect.body.round
        assert (node.life, slot, number) not in node.asked, "asked to sign twice in a round"
        node.asked.add((node.life, slot, number))
        body = node.journal.setdefault((slot, number), effect.body)
        signature = sign(SECRETS[node.place], kind_of(body), body)
        self.later(node, Signed(body, signature), MILLISECOND)

    # ---- the ledger ----

    def fund(self, amount: int) -> None:
        """Money for the pool, before anybody acts."""
        run = self.states[0][1].run
        memo = deposit_memo(run, "fund", FUNDER)
        transaction = self.ledger.put(self.now, FUNDER, {FUNDER: -amount, TREASURY: amount}, memo)
        record = FundRecord(run=run, account=FUNDER, amount=Tinybar(amount), transaction=transaction)
        self.now += SECOND
        self.publish(canonical(record), honest=True)

    def cosign(self, node: Node, effect: Cosign) -> None:
        """Add a signature; the last that is needed executes the payment, in vain or not, or is never heard of."""
        payout, number = effect.payout, effect.number
        signers = self.signers.setdefault(number, set())
        signers.add(node.place)
        lost = (number * 37 + self.schedule.seed) % 100 < self.schedule.refusals
        vain = (number * 53 + self.schedule.seed) % 100 < self.schedule.refusals
        enough = len(signers) >= self.state.money.keys.required
        if enough and number not in self.executed and self.now < payout.expires and not lost:
            moves = {} if vain else dict(payout.payees) | {TREASURY: -sum(a for _, a in payout.payees)}
            result = "ACCOUNT_DELETED" if vain else "SUCCESS"
            self.ledger.put(self.now, TREASURY, moves, payout.memo, result=result)
            self.executed[number] = self.ledger.transfers[-1]
        self.watch(node, effect, node.life)

    def watch(self, node: Node, effect: Cosign, life: int) -> None:
        """Tell a participant what the mirror shows of a payment, once it does."""
        done = self.executed.get(effect.number)
        if node.life != life:
            return
        if done is not None:
            self.feed(node, Executed(effect.number, done.id, done.succeeded))
        elif self.now > effect.payout.expires + EXPIRY_MARGIN:
            self.feed(node, Executed(effect.number, None, False))
        else:
            self.at(SECOND, lambda: self.watch(node, effect, life))

    def send(self, node: Node, effect: Send) -> None:
        if isinstance(effect.message, Vote) and self.is_honest(node.place):
            assert effect.message.body.voter == node.place
        for other in self.alive:
            if other is node or PEERS[other.place] not in effect.to:
                continue
            copies = 0 if self.chance(self.schedule.loss) else 1 + self.chance(self.schedule.duplication)
            for _ in range(copies):
                message = effect.message if self.is_honest(node.place) else self.twisted(effect.message)
                event = Received(PEERS[node.place], message)
                self.at(self.delay(), lambda other=other, event=event: self.feed(other, event))

    # ---- participants that lie ----

    def is_honest(self, place: int) -> bool:
        return place not in self.schedule.faulty

    def twisted(self, message: Proposal | Vote) -> Proposal | Vote:
        """Another message of the same kind and round, where its author is one that lies."""
        body = message.body
        place = body.proposer if isinstance(body, ProposalBody) else body.voter
        if self.is_honest(place) or self.random.random() < 0.4:
            return message
        if isinstance(body, ProposalBody):
            other = body.model_copy(update={"candidate": blob(f"twist {body.round}")})
        else:
            other = body.model_copy(update={"choice": self.random.choice(list(Choice))})
        signature = sign(SECRETS[place], message.kind, other)
        return message.model_copy(update={"body": other, "signature": signature})

    def submit(self, node: Node, record: Any) -> None:
        honest = self.is_honest(node.place)
        if not honest and isinstance(record, VoteRecord):
            run, proposal = self.state.run, proposal_of(record.proposal, self.state.run)
            vote = vote_of(record.vote, run, proposal.body.round, proposal.body.digest())
            twisted = self.twisted(vote)
            assert isinstance(twisted, Vote)
            extra = canonical(record.model_copy(update={"vote": vote_entry_of(twisted)}))
            self.at(self.random.randint(1, LATENCY), lambda: self.publish(extra, honest=False))
        raw = canonical(record)
        self.at(self.random.randint(1, LATENCY), lambda: self.publish(raw, honest=honest))

    # ---- the topic ----

    def publish(self, raw: bytes, honest: bool) -> None:
        stamp = self.topic.put(raw, self.now)
        end = len(self.topic.messages)
        try:
            self.reader, effects = step(self.reader, self.recorded(raw, stamp), Nanoseconds(self.now))
        except ProtocolError as error:
            if honest and not isinstance(error, Ignore):
                raise AssertionError(f"the record of an honest participant is invalid: {error}") from error
        else:
            assert not effects
            assert self.reader.state is not None
            self.states.append((stamp, self.reader.state))
        for node in self.alive:
            wait = self.random.randint(1, LATENCY)
            self.at(wait, lambda node=node: self.catch_up(node, end) if node.life else None)

    def recorded(self, raw: bytes, stamp: Stamp) -> Recorded:
        """A message with what the mirror has of the transfers that it names."""
        return self.found.setdefault(
            stamp.sequence, Recorded(raw, stamp, self.ledger.found(self.reader.state, raw, stamp))
        )

    def endings(self) -> list[tuple[int, str, int, int, int]]:
        """Of each round that is over: number, ending, proposer, opening time, and lateness at the close."""
        out, opened = [], self.states[0]
        for stamp, state in self.states[1:]:
            before = opened[1].open
            assert before is not None
            if state.last is not None and state.last.number == before.number:
                late = stamp.time - before.deadline
                out.append((before.number, state.last.ending, before.proposer, opened[0].time, late))
                opened = (stamp, state)
                if state.open is None:
                    break
        return out
