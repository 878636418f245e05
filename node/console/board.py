"""The board: an observer of one node that can tell how it stands at any moment. It is bounded, and changes nothing."""

from collections.abc import Callable
from importlib import metadata

import anyio

from learners.learner import Comparison, Training
from node.console.history import History, milliseconds
from node.console.progress import doing_of, round_of
from node.console.schema import Health, NodeFacts, NodeState, Status
from node.console.standing import Link, members_of, money_of, own_of, totals_of
from node.net.transport import Connected, Disconnected
from node.observer import Contacts
from protocol.ids import AccountId, Nanoseconds, PeerId, Round, TopicId
from protocol.view import Event, Recorded, View

MAX_LINKS = 1000
"""Peers whose connections are remembered: as many as a roster can have."""


class Board:
    """How one node stands: implements Observer (node/observer.py). clock: this machine's, in nanoseconds."""

    def __init__(
        self, peer: PeerId, account: AccountId, topic: TopicId, clock: Callable[[], Nanoseconds]
    ) -> None:
        self.history = History(peer)
        self._view = View(peer=peer, topic=topic)
        self._account = account
        self._clock = clock
        self._started = milliseconds(clock())
        self._links: dict[PeerId, Link] = {}
        self._contacts: Contacts = tuple
        self._sequence = 0
        self._package = package_version()
        self._version = 0
        self._news = anyio.Event()

    # ---- Observer ----

    def on_step(self, before: View, after: View, event: Event, now: Nanoseconds) -> None:
        """An event had its effect."""
        if isinstance(event, Recorded) and after.state is not None:
            self._sequence = event.stamp.sequence
            self.history.on_state(before.state, after.state, event.stamp.time)
        self._view = after
        self._tell()

    def on_network(self, contacts: Contacts) -> None:
        """The network is up."""
        self._contacts = contacts
        self._tell()

    def on_peer(self, event: Connected | Disconnected, now: Nanoseconds) -> None:
        """A connection came or went."""
        if event.peer in self._links or len(self._links) < MAX_LINKS:
            self._links[event.peer] = Link(isinstance(event, Connected), milliseconds(now))
        self._tell()

    def on_trained(self, round: Round, training: Training, seconds: float) -> None:
        """Our learner has made a candidate for a round."""
        self.history.on_trained(round, training, seconds)
        self._tell()

    def on_scored(self, round: Round, comparison: Comparison, seconds: float) -> None:
        """Our learner has compared a candidate with the head."""
        self.history.on_scored(round, comparison, seconds)
        self._tell()

    # ---- what it tells ----

    @property
    def round(self) -> int | None:
        """The number of the round in progress."""
        return None if self._view.open is None else int(self._view.open.number)

    @property
    def state(self) -> NodeState:
        """Whether the node takes part."""
        if not self._view.live:
            return "catching up"
        return "ended" if self._view.state is not None and self._view.open is None else "live"

    @property
    def version(self) -> int:
        """Grows with everything that the board is told."""
        return self._version

    async def wait(self, version: int, seconds: float) -> None:
        """Wait until the board has been told something after a version, at most so long."""
        if version == self._version:
            with anyio.move_on_after(seconds):
                await self._news.wait()

    def status(self) -> Status:
        """How the node stands now."""
        view, history = self._view, self.history
        state, place = view.state, view.place
        by_peer = {contact.peer: contact for contact in self._contacts()}
        return Status(
            now_ms=milliseconds(self._clock()),
            node=self._node(),
            round=round_of(view, history),
            totals=totals_of(state),
            members=() if state is None else members_of(state, view.peer, history, self._links, by_peer),
            heads=tuple(history.heads),
            money=money_of(state),
            own=own_of(state, place, history),
        )

    def health(self) -> Health:
        """Whether rounds go by: a round overdue by a whole window is a sign that something is wrong."""
        state, current = self._view.state, self._view.open
        healthy = True
        if state is not None and current is not None and self._view.live:
            healthy = self._clock() <= current.deadline + state.params.window
        return Health(healthy=healthy, state=self.state, round=self.round)

    def _node(self) -> NodeFacts:
        state = self._view.state
        return NodeFacts(
            version=self._package,
            peer=self._view.peer,
            place=self._view.place,
            account=self._account,
            run=None if state is None else state.run,
            topic=self._view.topic,
            learner=None if state is None else state.params.learner.name,
            state=self.state,
            doing=doing_of(self._view),
            sequence=self._sequence,
            started_ms=self._started,
        )

    def _tell(self) -> None:
        self._version += 1
        news, self._news = self._news, anyio.Event()
        news.set()


def package_version() -> str:
    """The installed version, or `unknown` where the package runs without being installed."""
    try:
        return metadata.version("roundabout-learning")
    except metadata.PackageNotFoundError:
        return "unknown"
