"""One simulation: a world made from a plan, run until enough rounds are over and everything is quiet again."""

from collections import Counter
from random import Random

from node.simulation.accounts import Violation, check_treasury
from node.simulation.behaviours import BEHAVIOURS, STIR_EVERY
from node.simulation.cast import FUNDER, TREASURY, figure, founding, joining
from node.simulation.forging import pass_record
from node.simulation.invariants import Invariants
from node.simulation.learner import Weights
from node.simulation.ledger import SUCCESS, Fate, Ledger
from node.simulation.memo import Memo
from node.simulation.network import Network
from node.simulation.node import Node
from node.simulation.plan import Plan, Span
from node.simulation.scheduler import Scheduler
from node.simulation.surroundings import Surroundings
from node.simulation.telling import Tell, Traced
from node.simulation.topic import Entry, FalseMirror, Topic
from protocol.deposits import deposit_memo
from protocol.fields import canonical
from protocol.ids import SECOND, Tinybar
from protocol.payments import FundRecord, TopupRecord
from protocol.state import RunState

MAX_EVENTS = 400
"""Actions of the scheduler for each node and round, after which nothing will come of it any more."""
SLACK = 120 * SECOND
"""What was under way when everything healed may fail for so long."""
QUIET = 1_200 * SECOND
"""After the last round everybody has so long to read it, to fetch the head, and to be paid."""
JOIN_EVERY = 5 * SECOND
"""How often somebody new looks whether it has a place."""


class World:
    """Everything there is in one simulation."""

    def __init__(self, plan: Plan, tell: Tell | None = None) -> None:
        self.plan = plan
        self.scheduler = Scheduler()
        self.random = Random(f"world {plan.seed}")
        self.topic = Topic(self.scheduler)
        self.ledger = Ledger(self._fate)
        self.invariants = Invariants(plan, self.topic)
        self._traced = None if tell is None else Traced(self.invariants, tell)
        network = Network(self.scheduler, plan.faults, self.random)
        self.memo = Memo()
        self.around = Surroundings(
            scheduler=self.scheduler,
            topic=self.topic,
            ledger=self.ledger,
            network=network,
            weights=Weights(self.random),
            memo=self.memo,
            faults=plan.faults,
            watch=self._traced or self.invariants,
            random=self.random,
        )
        self.nodes = [self._node(place) for place in range(plan.setup.peers) if place not in plan.silent]
        self._late = None if plan.late is None else self._node(plan.setup.peers)
        for node in self.nodes:
            network.add(node)
        self.topic.found = lambda raw, stamp: self.ledger.found(self.invariants.state, raw, stamp)
        self.topic.on_entry.append(self._on_entry)
        self.faults: Counter[str] = Counter()
        self._founded = 0
        """Rounds that were over before anybody took part."""

    def _node(self, place: int) -> Node:
        lies = dict(self.plan.liars).get(place, ())
        mirror = None
        if place in self.plan.deceived:
            first, kept = 3 + self.random.randrange(20), self.random.random()
            mirror = FalseMirror(
                lambda entry: entry.stamp.sequence >= first and self._is_left_out(entry, kept)
            )
        behaviours = tuple(BEHAVIOURS[name] for name in lies)
        return Node(figure(place), self.around, Random(f"node {self.plan.seed} {place}"), behaviours, mirror)

    def _is_left_out(self, entry: Entry, kept: float) -> bool:
        return self.random.random() > max(0.5, kept)

    def _fate(self, number: int) -> Fate:
        """What becomes of a payment."""
        chance = Random(f"payment {self.plan.seed} {number}").random()
        bad = 0.0 if self.around.is_healed else self.plan.faults.payments
        if chance < bad:
            self.faults["payments that fail"] += 1
            return Fate("ACCOUNT_DELETED")
        return Fate(SUCCESS, is_lost=chance > 1 - bad)

    # ---- the topic ----

    def _on_entry(self, entry: Entry) -> None:
        if self._traced is not None:
            self._traced.on_entry(entry)
        self.invariants.on_entry(entry)
        self.around.state = self.invariants.state
        for node in self.nodes:
            if node.mirror is not None:
                node.mirror.take(entry)
            if node.core is not None:
                end = len(node.entries)
                self.scheduler.after(self.around.latency(), node.read_up_to, node.life, end)

    # ---- from the beginning to the end ----

    def run(self) -> None:
        """Raises Violation."""
        with self.memo.in_use():
            self._found()
            self._start()
            self._play()
            self._finish()

    def _found(self) -> None:
        """The run, its pool, and everybody's stake."""
        plan, now = self.plan, self.scheduler.now
        setup = plan.setup
        self.topic.publish(canonical(founding(setup.founders, plan.params)), FUNDER, None)
        run = self.state.run
        if plan.pool:
            memo = deposit_memo(run, "fund", FUNDER)
            paid = self.ledger.transfer(now, FUNDER, {FUNDER: -plan.pool, TREASURY: plan.pool}, memo)
            fund = FundRecord(run=run, account=FUNDER, amount=Tinybar(plan.pool), transaction=paid)
            self.topic.publish(canonical(fund), FUNDER, None)
        for place in range(setup.peers if plan.stake else 0):
            who, op = figure(place), "topup" if place < setup.founders else "join"
            moves = {who.account: -plan.stake, TREASURY: plan.stake}
            paid = self.ledger.transfer(now, who.account, moves, deposit_memo(run, op, who.peer))
            amount = Tinybar(plan.stake)
            raw = joining(who, run, amount, paid)
            if op == "topup":
                raw = canonical(TopupRecord(run=run, peer=who.peer, amount=amount, transaction=paid))
            self.topic.publish(raw, who.account, None)
        while self.state.epoch == 1 and setup.founders < setup.peers:
            turn = self.state.open
            assert turn is not None, "the run has just begun"
            who = figure(turn.proposer)
            self.topic.publish(pass_record(self.state, turn.number, who.secret), who.account, None)
        self._founded = self.state.rounds

    def _start(self) -> None:
        faults = self.plan.faults
        for node in self.nodes:
            node.start()
            if node.behaviours:
                self.scheduler.after(STIR_EVERY, self._stir, node)
        self.around.network.begin(self.plan.setup.peers)
        for span in faults.crashes:
            self.scheduler.after(span.start, self._crash, span)
        for span in faults.rot:
            self.scheduler.after(span.start, self._rot, span)
        if self._late is not None and self.plan.late is not None:
            self.scheduler.after(self.plan.late, self._pay_to_join, self._late)
        self.scheduler.after(faults.heal, self._heal)

    def _stir(self, node: Node) -> None:
        if node.core is not None:
            for behaviour in node.behaviours:
                behaviour.stir(node)
        self.scheduler.after(STIR_EVERY, self._stir, node)

    def _pay_to_join(self, node: Node) -> None:
        """Somebody new pays a stake, and says so on the topic."""
        who, stake, run = node.figure, self.plan.stake, self.state.run
        moves = {who.account: -stake, TREASURY: stake}
        memo = deposit_memo(run, "join", who.peer)
        paid = self.ledger.transfer(self.scheduler.now, who.account, moves, memo)
        self.around.publish_later(joining(who, run, Tinybar(stake), paid), who.account, node.place)
        self.scheduler.after(JOIN_EVERY, self._join, node)

    def _join(self, node: Node) -> None:
        """Who is new comes up when it has a place; before, a daemon refuses to."""
        if self.state.place_of(node.figure.peer) is None:
            if self.state.open is not None:
                self.scheduler.after(JOIN_EVERY, self._join, node)
            return
        self.faults["late joiners"] += 1
        self.nodes.append(node)
        self.around.network.add(node)
        node.start()

    def _rot(self, span: Span) -> None:
        """Somebody finds that the head's blob is not what it was; not the last who has it."""
        head = self.state.head
        holders = [node for node in self.nodes if node.is_honest and head in node.store]
        for node in holders if len(holders) > 1 and not self.around.is_healed else []:
            if node.place in span.places and node.core is not None:
                node.lose(head)

    def _crash(self, span: Span) -> None:
        for node in self.nodes:
            if node.place in span.places and node.core is not None and not self.around.is_healed:
                self.faults["crashes"] += 1
                node.crash()
                self.scheduler.after(span.end - span.start, self._restart, node)

    def _restart(self, node: Node) -> None:
        if node.core is None:
            node.start()

    def _heal(self) -> None:
        """Nothing goes wrong any more but what faulty members do."""
        if self.around.is_healed:
            return
        self.around.is_healed = True
        self.around.network.heal()
        for node in self.nodes:
            self._restart(node)
        # What was under way may still fail.
        self.invariants.healed_at = self.scheduler.now + SLACK
        if self._traced is not None:
            self._traced.on_healed(self.scheduler.now)

    @property
    def endings(self) -> Counter[str]:
        """How rounds ended, but for those in which founders passed so that others could join."""
        return self.invariants.endings - Counter({"passed": self._founded})

    @property
    def rounds(self) -> int:
        """How many are over."""
        return max(0, self.invariants.rounds - self._founded)

    def tried(self) -> Counter[str]:
        """What went wrong, by kind: how often, or how many nodes did it."""
        plan, network = self.plan, self.around.network
        tried = Counter({name: len(spans) for name, spans in plan.faults.spans().items() if spans})
        tried += self.faults
        tried += Counter(name for _, names in plan.liars for name in names)
        tried += Counter({"silent": len(plan.silent), "another history": len(plan.deceived)})
        return tried + Counter({"messages lost": network.lost, "messages repeated": network.repeated})

    @property
    def state(self) -> RunState:
        assert self.invariants.state is not None, "a run starts with its genesis"
        return self.invariants.state

    def _play(self) -> None:
        most = MAX_EVENTS * self.plan.setup.peers * (self.plan.setup.rounds + 10)
        for _ in range(most):
            if self.state.open is None:
                return
            if self.rounds * 5 >= self.plan.setup.rounds * 3 and not self.around.is_healed:
                self._heal()
            if not self.scheduler.advance():
                raise Violation("nothing waits for ever", "nobody has anything to do")
        raise Violation("nothing waits for ever", f"{most} events, and only {self.state.rounds} rounds")

    def _finish(self) -> None:
        """The run has ended: what was said is read, what was accepted is fetched, what is owed is paid."""
        if not self.around.is_healed:
            self._heal()
        end = self.scheduler.now + QUIET
        while not self.invariants.is_quiet(self.nodes):
            if self.scheduler.now > end or not self.scheduler.advance():
                break
        self.invariants.check_end(self.nodes)
        check_treasury(self.state, self.ledger)
