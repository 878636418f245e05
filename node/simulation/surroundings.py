"""What all nodes of a simulation share: time, topic, ledger, links, weights, and who watches."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from node.core import Drop, Outcome
from node.simulation.learner import Weights
from node.simulation.ledger import Ledger
from node.simulation.memo import Memo
from node.simulation.plan import Faults
from node.simulation.scheduler import MILLISECOND, START, Scheduler
from node.simulation.topic import Topic
from protocol.ids import SECOND, AccountId
from protocol.state import RunState
from protocol.view import Adopt, Event, Merge, Score, Signed, Train

if TYPE_CHECKING:
    from node.simulation.network import Network
    from node.simulation.node import Node

PATIENCE = 10 * SECOND
"""How long a submission waits for the ledger."""


class Watch(Protocol):
    """Is told of everything; raises Violation when it must not be."""

    def on_step(self, node: "Node", event: Event, outcome: Outcome) -> None:
        """A core has taken an event."""

    def on_drop(self, node: "Node", drop: Drop) -> None:
        """A node talks to another no more."""

    def on_signed(self, node: "Node", event: Signed) -> None:
        """A node's journal has a body, and it is signed."""

    def on_learnt(self, node: "Node", effect: Train | Merge | Score) -> None:
        """A node's learner is done with something."""

    def on_adopt(self, node: "Node", effect: Adopt) -> None:
        """A node's learner is told of the head."""

    def on_life(self, node: "Node", is_up: bool) -> None:
        """A node came up, or went down."""

    def on_flood(self, node: "Node") -> None:
        """A node wants to write more at once than it may."""


@dataclass(slots=True)
class Surroundings:
    """What all nodes share."""

    scheduler: Scheduler
    topic: Topic
    ledger: Ledger
    network: "Network"
    weights: Weights
    memo: Memo
    faults: Faults
    watch: Watch
    random: Random
    is_healed: bool = False
    state: RunState | None = None
    """What is true, as somebody knows who reads the topic at once."""

    def write(self, node: "Node", raw: bytes, key: str, raws: list[bytes]) -> None:
        """Put on the topic what a node submits; in an outage that fails, or seems to. raws: what is written for it."""
        outage = 0 if self.is_healed else self._unwritable()
        if outage:
            self.scheduler.after(PATIENCE, node.on_written, node.life, raw, False)
            if self.random.random() < 0.5:
                return  # it was never sent
        node.outbox.add(key)
        wait = outage + self.latency()
        for said in raws:
            self.scheduler.after(wait, self.topic.publish, said, node.figure.account, node.place)
        if not outage:
            self.scheduler.after(wait, node.on_written, node.life, raw, True)

    def publish_later(self, raw: bytes, payer: AccountId, author: int, wait: int = 0) -> None:
        """Put something on the topic without a core that asked for it."""
        outage = 0 if self.is_healed else self._unwritable()
        self.scheduler.after(wait + outage + self.latency(), self.topic.publish, raw, payer, author)

    def latency(self) -> int:
        """From a submission to consensus, or from there to a reader."""
        return 100 * MILLISECOND + int(self.random.random() * self.faults.finality)

    def _unwritable(self) -> int:
        """How much longer nobody can write to the topic."""
        since = self.scheduler.now - START
        return max(
            (span.end - since for span in self.faults.writing if span.start <= since < span.end), default=0
        )

    def unreadable(self, place: int) -> int:
        """How much longer somebody cannot read the topic."""
        if self.is_healed or not self.faults.reading:
            return 0
        since = self.scheduler.now - START
        return max(
            (s.end - since for s in self.faults.reading if place in s.places and s.start <= since < s.end),
            default=0,
        )
