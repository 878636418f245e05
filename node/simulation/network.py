"""Links between nodes: they delay, lose, repeat and reorder; they break, also in one direction, and come back."""

from random import Random
from typing import TYPE_CHECKING

from node.core import Drop
from node.simulation.plan import Faults, Span
from node.simulation.scheduler import MILLISECOND, START, Scheduler
from protocol.ids import SECOND, PeerId
from protocol.view import Fetch, Fetched, FetchingFailed, PeerUp

if TYPE_CHECKING:
    from node.simulation.node import Node

REFUSAL = 60 * SECOND
"""How long a node that misbehaved is not talked to."""


class Network:
    """Who hears whom, and when."""

    def __init__(self, scheduler: Scheduler, faults: Faults, random: Random) -> None:
        self._scheduler = scheduler
        self._faults = faults
        self._random = random
        self._nodes: dict[PeerId, Node] = {}
        self._blocked: dict[tuple[int, int], int] = {}
        """How many faults keep the first place from being heard by the second."""
        self._refused: dict[tuple[int, int], int] = {}
        """Until when a place refuses another."""
        self.is_healed = False
        self.lost = 0
        self.repeated = 0

    def add(self, node: "Node") -> None:
        """Somebody who may be connected."""
        self._nodes[node.figure.peer] = node

    def begin(self, size: int) -> None:
        """Let links break, and come back, as planned."""
        everybody = frozenset(range(size))
        for span in self._faults.partitions:
            pairs = [(a, b) for a in sorted(span.places) for b in sorted(everybody - span.places)]
            self._break(span, pairs + [(b, a) for a, b in pairs])
        for span in self._faults.deaf:
            self._break(span, [(a, b) for a in sorted(span.places) for b in sorted(everybody - span.places)])

    def _break(self, span: Span, pairs: list[tuple[int, int]]) -> None:
        self._scheduler.after(span.start, self._block, pairs, 1)
        self._scheduler.after(span.end, self._block, pairs, -1)

    def _block(self, pairs: list[tuple[int, int]], change: int) -> None:
        if self.is_healed:
            return
        for pair in pairs:
            self._blocked[pair] = self._blocked.get(pair, 0) + change
        if change < 0:
            by_place = {node.place: node for node in self._nodes.values()}
            for a, b in pairs:
                if a in by_place and b in by_place and not self._blocked[a, b]:
                    self.greet(by_place[a], by_place[b])

    def heal(self) -> None:
        """Every link is back."""
        self.is_healed = True
        pairs = [pair for pair, count in self._blocked.items() if count]
        self._blocked.clear()
        by_place = {node.place: node for node in self._nodes.values()}
        for a, b in pairs:
            if a in by_place and b in by_place:
                self.greet(by_place[a], by_place[b])

    # ---- connections ----

    def is_connected(self, a: "Node", b: "Node") -> bool:
        """Whether two nodes talk to each other."""
        now = self._scheduler.now
        refused = self._refused and (
            self._refused.get((a.place, b.place), 0) > now or self._refused.get((b.place, a.place), 0) > now
        )
        return a.is_up and b.is_up and not refused and a.admits(b.figure.peer) and b.admits(a.figure.peer)

    def is_reached(self, a: "Node", b: "Node") -> bool:
        """Whether what `a` says comes to `b`."""
        return not self._blocked.get((a.place, b.place)) and self.is_connected(a, b)

    def join(self, node: "Node") -> None:
        """A node has come up: it and the others notice, but at the very start, when nobody has said anything."""
        if self._scheduler.now > START:
            for other in self._nodes.values():
                self.greet(node, other)

    def meet(self, node: "Node", peers: frozenset[PeerId]) -> None:
        """A node admits others from now on."""
        for peer in sorted(peers):
            if peer in self._nodes:
                self.greet(node, self._nodes[peer])

    def greet(self, a: "Node", b: "Node") -> None:
        """Tell two nodes that they are connected (again)."""
        if a is not b and self.is_reached(a, b) and self.is_reached(b, a):
            for one, other in ((a, b), (b, a)):
                self._scheduler.after(MILLISECOND, one.hear, one.life, PeerUp(other.figure.peer))

    def drop(self, node: "Node", peer: PeerId) -> None:
        """Disconnect two nodes, for a while."""
        other = self._nodes.get(peer)
        if other is not None and not self.is_refused(node, other):
            self._refused[node.place, other.place] = self._scheduler.now + REFUSAL
            self._scheduler.after(REFUSAL, self.greet, node, other)

    def is_refused(self, node: "Node", other: "Node") -> bool:
        """Whether a node has dropped another that misbehaved."""
        return self._refused.get((node.place, other.place), 0) > self._scheduler.now

    # ---- what is said ----

    def send(self, sender: "Node", to: tuple[PeerId, ...], frame: bytes) -> None:
        """Say something to some, as far as they hear it."""
        faults, random = self._faults, self._random
        for peer in to:
            other = self._nodes.get(peer)
            if other is None or not self.is_reached(sender, other):
                continue
            copies = 1
            if not self.is_healed and (faults.loss or faults.duplication):
                chance = random.random()
                if chance < faults.loss:
                    self.lost += 1
                    continue
                if chance > 1 - faults.duplication:
                    self.repeated += 1
                    copies = 2
            for _ in range(copies):
                self._scheduler.after(self.delay(), self._arrive, sender, other, other.life, frame)

    def delay(self) -> int:
        """How long a message takes."""
        most = 20 * MILLISECOND if self.is_healed else self._faults.delay
        chance = self._random.random()
        return 1 + int(most * (chance if chance < 0.9 else 10 * chance))

    def _arrive(self, sender: "Node", other: "Node", life: int, frame: bytes) -> None:
        if other.life != life or not self.is_reached(sender, other):
            return
        heard = other.memo.received(sender.figure.peer, frame)
        if isinstance(heard, Drop):
            other.drop(heard)
        else:
            if other.behaviours:
                other.heard.append(frame)
            other.hear(life, heard)

    # ---- blobs ----

    def fetch(self, node: "Node", effect: Fetch) -> None:
        """Get a blob from the first source that gives it, source after source."""
        faults, random = self._faults, self._random
        if effect.digest in node.store:
            self._scheduler.after(MILLISECOND, node.hear, node.life, Fetched(effect.digest))
            return
        spent = 0
        for peer in effect.sources:
            other = self._nodes.get(peer)
            spent += 2 * self.delay()
            if other is None or not self.is_reached(node, other) or not self.is_reached(other, node):
                continue
            if not other.serves(node, effect.digest):
                continue
            if not self.is_healed and random.random() < faults.broken_fetches:
                spent += int(random.random() * faults.slow_fetch)
                continue
            most = SECOND if self.is_healed else faults.slow_fetch
            spent += int(random.random() * most)
            self._scheduler.after(spent, node.keep, node.life, effect.digest)
            return
        self._scheduler.after(spent + MILLISECOND, node.hear, node.life, FetchingFailed(effect.digest))
