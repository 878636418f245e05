"""What a node tells whoever watches it: the port of status, metrics and dashboard. Observers change nothing."""

from collections.abc import Callable
from typing import Protocol

from learners.learner import Comparison, Training
from node.net.transport import Connected, Contact, Disconnected
from protocol.ids import Nanoseconds, Round
from protocol.view import Event, View

Contacts = Callable[[], tuple[Contact, ...]]


class Observer(Protocol):
    """Is told of everything that happens to a node, in order; must return at once and raise nothing."""

    def on_step(self, before: View, after: View, event: Event, now: Nanoseconds) -> None:
        """An event had its effect. While the topic is read from its beginning `after.live` is false."""

    def on_network(self, contacts: Contacts) -> None:
        """The network is up; `contacts` gives the way to each peer whenever it is asked."""

    def on_peer(self, event: Connected | Disconnected, now: Nanoseconds) -> None:
        """A connection came or went."""

    def on_trained(self, round: Round, training: Training, seconds: float) -> None:
        """Our learner has made a candidate for a round."""

    def on_scored(self, round: Round, comparison: Comparison, seconds: float) -> None:
        """Our learner has compared a candidate with the head."""


class Unobserved:
    """Nobody watches."""

    def on_step(self, before: View, after: View, event: Event, now: Nanoseconds) -> None:
        """Nothing."""

    def on_network(self, contacts: Contacts) -> None:
        """Nothing."""

    def on_peer(self, event: Connected | Disconnected, now: Nanoseconds) -> None:
        """Nothing."""

    def on_trained(self, round: Round, training: Training, seconds: float) -> None:
        """Nothing."""

    def on_scored(self, round: Round, comparison: Comparison, seconds: float) -> None:
        """Nothing."""
