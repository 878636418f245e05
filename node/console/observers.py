"""Several observers of one node as one, which keeps what goes wrong in them away from the node."""

from collections.abc import Callable, Sequence

import structlog

from learners.learner import Comparison, Training
from node.net.transport import Connected, Disconnected
from node.observer import Contacts, Observer
from protocol.ids import Nanoseconds, Round
from protocol.view import Event, View

log = structlog.get_logger("node.console")


class Observers:
    """Tells each of some observers in turn; one that fails is told nothing more, and the log says so once."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def on_step(self, before: View, after: View, event: Event, now: Nanoseconds) -> None:
        """An event had its effect."""
        self._each(lambda observer: observer.on_step(before, after, event, now))

    def on_network(self, contacts: Contacts) -> None:
        """The network is up."""
        self._each(lambda observer: observer.on_network(contacts))

    def on_peer(self, event: Connected | Disconnected, now: Nanoseconds) -> None:
        """A connection came or went."""
        self._each(lambda observer: observer.on_peer(event, now))

    def on_trained(self, round: Round, training: Training, seconds: float) -> None:
        """Our learner has made a candidate for a round."""
        self._each(lambda observer: observer.on_trained(round, training, seconds))

    def on_scored(self, round: Round, comparison: Comparison, seconds: float) -> None:
        """Our learner has compared a candidate with the head."""
        self._each(lambda observer: observer.on_scored(round, comparison, seconds))

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                tell(observer)
            except Exception:  # who only looks on must not stop who takes part
                self._observers.remove(observer)
                log.exception("an observer failed and is told nothing more", observer=type(observer).__name__)
