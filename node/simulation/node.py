"""One whole node: a real core and journal, and a shell that does in virtual time what node/driver.py does.

What survives a crash is in `Node` itself: journal, blobs, and the keys that its outbox knows. All else is in `_Life`.
"""

from collections import deque
from random import Random
from typing import assert_never

from node.admission import has_left
from node.copies import note
from node.core import Admit, Command, Core, Drop, Write, signed
from node.journal import Journal
from node.observer import Unobserved
from node.simulation.behaviours import Behaviour
from node.simulation.cast import INITIAL, TOPIC, Figure
from node.simulation.learner import Bench, compared, failure, merged, trained
from node.simulation.memo import Memo
from node.simulation.scheduler import MILLISECOND
from node.simulation.surroundings import Surroundings
from node.simulation.topic import Entry, FalseMirror
from node.submissions import MAX_SUBMISSIONS, MAX_WAITING
from protocol.bodies import Body
from protocol.fields import canonical
from protocol.ids import SECOND, Digest, Nanoseconds, PeerId, digest_of
from protocol.view import (
    Adopt,
    CaughtUp,
    Cosign,
    Event,
    Fetch,
    Fetched,
    Gone,
    Merge,
    Score,
    Send,
    Sign,
    Tick,
    Train,
)

UNOBSERVED = Unobserved()


class Node:
    """A participant, up or down."""

    def __init__(
        self,
        figure: Figure,
        around: Surroundings,
        random: Random,
        behaviours: tuple[Behaviour, ...] = (),
        mirror: FalseMirror | None = None,
    ) -> None:
        self.figure = figure
        self.place = figure.number
        self.around = around
        self.memo: Memo = around.memo
        self.random = random
        self.skew = random.randint(-400, 400) * MILLISECOND
        self.behaviours = behaviours
        self.mirror = mirror
        self.journal = Journal.in_memory()
        self.store: set[Digest] = {INITIAL}
        self.outbox: set[str] = set()
        """Keys of records that are on the topic, or will be."""
        self.life = 0
        self.read = 0
        self.core: Core | None = None
        self.is_up = False
        """Whether it takes part in the network."""
        self.heard: deque[bytes] = deque(maxlen=64)
        """The latest frames, for those who repeat them."""
        self._fresh()

    def _fresh(self) -> None:
        self._alarm: Nanoseconds | None = None
        self._bench = Bench()
        self._writing: dict[bytes, str] = {}
        self._queued: deque[tuple[bytes, str]] = deque()
        self._written: dict[Digest, str] = {}
        self._admitted: frozenset[PeerId] = frozenset()

    @property
    def now(self) -> Nanoseconds:
        """Its own clock."""
        return Nanoseconds(self.around.scheduler.now + self.skew)

    @property
    def is_honest(self) -> bool:
        """Whether it does what its core says, and reads the topic itself."""
        return not self.behaviours and self.mirror is None

    @property
    def entries(self) -> list[Entry]:
        """The topic, as its mirror shows it."""
        return self.around.topic.entries if self.mirror is None else self.mirror.entries

    # ---- coming and going ----

    def start(self) -> None:
        """Come up: read the topic from its beginning, then take part."""
        self.life += 1
        self._fresh()
        self.core = Core(self.figure.peer, TOPIC, self.figure.account, UNOBSERVED)
        self.core.take(Fetched(INITIAL), self.now)
        self.read = 0
        self._catch_up(len(self.entries))
        self.feed(CaughtUp())
        if self.core is not None:
            self.is_up = True
            self.around.watch.on_life(self, True)
            self.around.network.join(self)

    def crash(self) -> None:
        """Go down in the middle of everything."""
        self.around.watch.on_life(self, False)
        self.life += 1
        self.core = None
        self.is_up = False

    def admits(self, peer: PeerId) -> bool:
        """Whether it talks to a peer."""
        return peer in self._admitted

    # ---- events ----

    def hear(self, life: int, event: Event) -> None:
        """An event of one of its lives."""
        if life == self.life and self.core is not None:
            self.feed(event)

    def feed(self, event: Event) -> None:
        """One event into the core, and what comes of it (node/driver.py, _loop)."""
        core = self.core
        if core is None:
            return
        before = core.view.state
        outcome = core.take(event, self.now)
        self.around.watch.on_step(self, event, outcome)
        for command in outcome.commands:
            self._start(core, command)
        if outcome.fault is not None:
            return  # what was due before is due still
        if core.due != self._alarm:
            self._alarm = core.due
            if core.due is not None:
                wait = max(0, core.due - self.now)
                self.around.scheduler.after(wait, self._ring, self.life, core.due)
        state = core.view.state
        if state is not before and state is not None and core.view.live and state.seats is not None:
            place = core.view.place
            if place in state.seats.expelled or has_left(state, self.figure.peer):
                self.crash()

    def _ring(self, life: int, due: Nanoseconds) -> None:
        if life == self.life and self._alarm == due:
            self._alarm = None  # so that the same time arms it again
            self.feed(Tick())

    def read_up_to(self, life: int, end: int) -> None:
        """Its mirror shows so many messages now."""
        if life != self.life or self.core is None:
            return
        wait = self.around.unreadable(self.place)
        if wait:
            self.around.scheduler.after(wait, self.read_up_to, life, end)
        else:
            self._catch_up(min(end, len(self.entries)))

    def _catch_up(self, end: int) -> None:
        while self.read < end and self.core is not None:
            entry = self.entries[self.read]
            self.read += 1
            stamp, raw = entry.recorded.stamp, entry.recorded.raw
            self.core.copies.on_read(stamp.sequence, entry.payer, raw)
            self.feed(entry.recorded)

    # ---- commands ----

    def _start(self, core: Core, command: Command) -> None:
        after, life = self.around.scheduler.after, self.life
        match command:
            case Send():
                self._send(command)
            case Write():
                self._submit(canonical(command.record), command.key)
            case Train() | Merge() | Score():
                if self._bench.give_up(core):
                    self._learn(core)
                self._bench.waiting.append(command)
                self._learn(core)
            case Fetch():
                self.around.network.fetch(self, command)
            case Sign():
                after(int(self.random.random() * 5 * MILLISECOND), self._sign, life, command.body)
            case Adopt():
                self.around.watch.on_adopt(self, command)
            case Admit():
                self._admit(command)
            case Drop():
                self.drop(command)
            case Cosign():
                after(MILLISECOND, self._cosign, life, command, False)
            case _:
                assert_never(command)

    def _admit(self, admit: Admit) -> None:
        before, self._admitted = self._admitted, admit.peers
        if before:
            self.around.network.meet(self, admit.peers - before)

    def drop(self, drop: Drop) -> None:
        """Talk no more, for a while, to a peer that misbehaved."""
        self.around.watch.on_drop(self, drop)
        self.around.network.drop(self, drop.peer)

    def _send(self, effect: Send) -> None:
        frame = canonical(effect.message)
        if not self.behaviours:
            self.around.network.send(self, effect.to, frame)
            return
        for peer in effect.to:
            frames = [frame]
            for behaviour in self.behaviours:
                frames = [said for one in frames for said in behaviour.say(self, one, peer)]
            for said in frames:
                self.around.network.send(self, (peer,), said)

    def serves(self, other: "Node", digest: Digest) -> bool:
        """Whether it has a blob, and gives it."""
        return digest in self.store and all(
            each.serves(self, other.place, digest) for each in self.behaviours
        )

    def keep(self, life: int, digest: Digest) -> None:
        """A blob has arrived."""
        if life == self.life and self.core is not None:
            self.store.add(digest)
            self.feed(Fetched(digest))

    def lose(self, digest: Digest) -> None:
        """A blob has rotted, and its store has noticed (node/driver.py); not one that its learner reads just now."""
        if digest in self.store and digest != INITIAL and self._bench.current is None:
            self.store.discard(digest)
            self.feed(Gone(digest))

    def _sign(self, life: int, body: Body) -> None:
        if life != self.life:
            return
        event, _ = signed(body, self.figure.secret, self.journal)
        self.around.watch.on_signed(self, event)
        # A crash may come between the journal and the network.
        self.around.scheduler.after(int(self.random.random() * 5 * MILLISECOND), self.hear, life, event)

    def _learn(self, core: Core) -> None:
        effect = self._bench.next(core)
        if effect is None:
            return
        around = self.around
        most = 2 * SECOND if around.is_healed else around.faults.slow_learner
        fails = not around.is_healed and self.random.random() < around.faults.broken_learner
        took = 50 * MILLISECOND + int(self.random.random() * most)
        around.scheduler.after(took, self._learnt, self.life, self._bench.token, effect, fails)

    def _learnt(self, life: int, token: int, effect: Train | Merge | Score, fails: bool) -> None:
        if life != self.life or self.core is None or not self._bench.is_done(token):
            return
        self.around.watch.on_learnt(self, effect)
        weights = self.around.weights
        event: Event
        if fails:
            event = failure(effect)
        elif isinstance(effect, Train):
            event = trained(effect, weights)
            self.store.add(event.candidate)
        elif isinstance(effect, Merge):
            event = merged(effect, weights)
            self.store.add(event.candidate)
        else:
            found = weights.compare(effect.head, effect.candidate, self.random)
            for behaviour in self.behaviours:
                found = behaviour.find(self, found)
            event = compared(effect, weights, found)
        # The next in the queue may start before the answer has been taken in.
        core = self.core
        self.feed(event)
        if self.core is core:
            self._learn(core)

    def _cosign(self, life: int, effect: Cosign, is_signed: bool) -> None:
        if life != self.life or self.core is None or self.core.view.state is None:
            return
        around = self.around
        if not is_signed:
            required = self.core.view.state.money.keys.required
            around.ledger.sign(self.place, effect, required, around.scheduler.now)
        done = around.ledger.outcome(effect, around.scheduler.now)
        if done is not None:
            self.feed(done)
        else:
            around.scheduler.after(5 * SECOND, self._cosign, life, effect, True)

    # ---- what is written (node/submissions.py) ----

    def _submit(self, raw: bytes, key: str) -> None:
        if raw in self._writing or self._written.get(digest_of(raw)) == key:
            return
        if len(self._writing) >= MAX_WAITING:
            self.around.watch.on_flood(self)
            return
        self._writing[raw] = key
        self._queued.append((raw, key))
        self._write_next()

    def _write_next(self) -> None:
        if self._queued and len(self._writing) - len(self._queued) < MAX_SUBMISSIONS:
            raw, key = self._queued.popleft()
            if key in self.outbox:
                self.around.scheduler.after(MILLISECOND, self.on_written, self.life, raw, True)
                return
            raws = [raw]
            for behaviour in self.behaviours:
                raws = [said for one in raws for said in behaviour.write(self, one)]
            self.around.write(self, raw, key, raws)

    def on_written(self, life: int, raw: bytes, succeeded: bool) -> None:
        """The ledger has answered about a record, or has not in time."""
        if life != self.life:
            return
        key = self._writing.pop(raw)
        if succeeded:
            note(self._written, digest_of(raw), key)
        self._write_next()
