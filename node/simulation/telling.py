"""One simulation as lines for people: when, who, what happened, what it did about it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from node.core import Admit, Command, Drop, Outcome, Write
from node.simulation.invariants import Invariants
from node.simulation.scheduler import START
from node.simulation.topic import Entry
from protocol.bodies import kind_of
from protocol.errors import Ignore, ProtocolError
from protocol.ids import SECOND
from protocol.messages import Message, Proposal, Vote
from protocol.parse import parse_record
from protocol.view import (
    Adopt,
    Cosign,
    Event,
    Executed,
    Fetch,
    Fetched,
    FetchingFailed,
    Merge,
    Merged,
    MergingFailed,
    PeerUp,
    Received,
    Recorded,
    Score,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Signed,
    Tick,
    Train,
    Trained,
    TrainingFailed,
)

if TYPE_CHECKING:
    from node.simulation.node import Node

Tell = Callable[[str], None]


class Traced:
    """Watches as invariants do, and tells of all that happens."""

    def __init__(self, invariants: Invariants, tell: Tell) -> None:
        self._invariants = invariants
        self._tell = tell

    def on_entry(self, entry: Entry) -> None:
        """A message has its place on the topic."""
        stamp, author = entry.recorded.stamp, "somebody" if entry.author is None else f"node {entry.author}"
        self._line(stamp.time, "topic", f"#{stamp.sequence} {_op(entry.recorded.raw)} of {author}", "")

    def on_healed(self, now: int) -> None:
        """Nothing goes wrong any more."""
        self._line(now, "world", "everything heals", "")

    def on_step(self, node: "Node", event: Event, outcome: Outcome) -> None:
        """A core has taken an event."""
        core, fault = node.core, outcome.fault
        if core is not None and core.view.live:
            done = ", ".join(told(command) for command in outcome.commands if not isinstance(command, Admit))
            if fault is not None:
                done = f"{'ignored' if isinstance(fault, Ignore) else 'invalid'}: {fault}" + (
                    done and f"; {done}"
                )
            if done or not isinstance(event, Tick):
                self._line(node.around.scheduler.now, _who(node), happened(event, node), done)
        self._invariants.on_step(node, event, outcome)

    def on_drop(self, node: "Node", drop: Drop) -> None:
        """A node talks to another no more."""
        self._invariants.on_drop(node, drop)

    def on_signed(self, node: "Node", event: Signed) -> None:
        """A node's journal has a body, and it is signed."""
        self._invariants.on_signed(node, event)

    def on_learnt(self, node: "Node", effect: Train | Merge | Score) -> None:
        """A node's learner is done with something."""
        self._invariants.on_learnt(node, effect)

    def on_adopt(self, node: "Node", effect: Adopt) -> None:
        """A node's learner is told of the head."""
        self._invariants.on_adopt(node, effect)

    def on_flood(self, node: "Node") -> None:
        """A node wants to write more at once than it may."""
        self._invariants.on_flood(node)

    def on_life(self, node: "Node", is_up: bool) -> None:
        """A node came up, or went down."""
        self._line(node.around.scheduler.now, _who(node), "comes up" if is_up else "goes down", "")
        self._invariants.on_life(node, is_up)

    def _line(self, now: int, who: str, what: str, done: str) -> None:
        seconds = (now - START) / SECOND
        self._tell(f"{seconds:10.3f} s  {who:<8}  {what}" + (f"  ->  {done}" if done else ""))


def _who(node: "Node") -> str:
    return f"{node.place}{'' if node.is_honest else '*'}"


def happened(event: Event, node: "Node") -> str:
    """An event in a few words."""
    match event:
        case Recorded(raw, stamp):
            return f"reads #{stamp.sequence} {_op(raw)}"
        case Received(sender, message):
            return f"hears from {_place(node, sender)}: {_message(message)}"
        case PeerUp(peer):
            return f"is connected with {_place(node, peer)}"
        case Signed(body):
            return f"has signed its {kind_of(body)} in round {body.round}"
        case Trained(round, base, candidate):
            return f"has trained {candidate[:6]} from {base[:6]} for round {round}"
        case TrainingFailed(round):
            return f"failed to train for round {round}"
        case Merged(round, base, candidate, _, _, shares):
            return f"has merged {candidate[:6]} from {base[:6]} for round {round}, shares {shares}"
        case MergingFailed(round):
            return f"failed to merge for round {round}"
        case Scored(round, candidate, choice, gain):
            return f"finds {candidate[:6]} {gain} ppm better in round {round}: {choice}"
        case ScoringFailed(round, candidate):
            return f"failed to compare {candidate[:6]} in round {round}"
        case Fetched(digest):
            return f"has blob {digest[:6]}"
        case FetchingFailed(digest):
            return f"cannot get blob {digest[:6]}"
        case Executed(number, _, succeeded):
            return f"sees that payment {number} {'succeeded' if succeeded else 'failed'}"
    return type(event).__name__.lower()


def told(command: Command) -> str:
    """A command in a few words."""
    match command:
        case Train(round, head):
            return f"train from {head[:6]} for round {round}"
        case Score(round, _, candidate):
            return f"compare {candidate[:6]} in round {round}"
        case Merge(round, _, _, updates):
            return f"merge the updates of {', '.join(str(place) for place, _ in updates)} for round {round}"
        case Fetch(digest):
            return f"fetch {digest[:6]}"
        case Sign(body):
            return f"sign its {kind_of(body)} in round {body.round}"
        case Send(message, to):
            return f"send {_message(message)} to {len(to)}"
        case Adopt(_, head):
            return f"adopt {head[:6]}"
        case Write(record):
            return f"write {record.op}"
        case Cosign(number):
            return f"sign payment {number}"
        case Drop(_, reason):
            return f"drop it: {reason}"
        case Admit(peers):
            return f"admit {len(peers)}"


def _message(message: Message) -> str:
    body = message.body
    if isinstance(message, Proposal):
        return f"proposal {message.body.candidate[:6]} in round {body.round}"
    if isinstance(message, Vote):
        return f"vote of {message.body.voter} in round {body.round}: {message.body.choice}"
    return f"update {message.body.update[:6]} of {message.body.contributor} in round {body.round}"


def _op(raw: bytes) -> str:
    """What a topic message is, in a word or two."""
    try:
        record = parse_record(raw)
    except ProtocolError:
        return "junk"
    outcome = getattr(record, "outcome", None)
    return record.op if outcome is None else f"{record.op} {outcome}"


def _place(node: "Node", peer: str) -> str:
    place = None if node.core is None or node.core.view.state is None else node.core.view.state.place_of(peer)
    return "a stranger" if place is None else str(place)
