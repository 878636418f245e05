"""One node without its I/O: what it knows, and what it wants done about each event (SPEC.md, step).

The driver runs what a core asks for with real sockets, files and processes; a simulation with none of them.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter

from learners.learner import Comparison, LearnerError
from node.admission import admitted
from node.copies import Copies
from node.journal import AlreadySigned
from node.observer import Observer
from protocol.bodies import Body, kind_of, slot_of
from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.fields import canonical
from protocol.ids import AccountId, Nanoseconds, PeerId, Signature, TopicId
from protocol.messages import parse_message
from protocol.parse import Record
from protocol.rules import choice_for
from protocol.signing import sign
from protocol.state import RunState
from protocol.step import step
from protocol.timing import alarm
from protocol.view import (
    Adopt,
    Cosign,
    Effects,
    Event,
    Fetch,
    Merge,
    Received,
    Recorded,
    Score,
    Scored,
    Send,
    Sign,
    Signed,
    Submit,
    Train,
    View,
)

MAX_GAIN = 1_000_000
"""ppm: what a vote can say at most."""

_BODY: TypeAdapter[Body] = TypeAdapter(Body)


@dataclass(frozen=True, slots=True)
class Write:
    """Put a record on the topic, at most once under its key."""

    record: Record
    key: str


@dataclass(frozen=True, slots=True)
class Admit:
    """Talk to these peers and to no others, as far as there is a network."""

    peers: frozenset[PeerId]
    addresses: tuple[tuple[PeerId, tuple[str, ...]], ...]
    """Where some of them say they listen (multiaddrs)."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Disconnect a peer that misbehaved, and refuse it for a while."""

    peer: PeerId
    reason: str


Task = Train | Merge | Fetch | Score | Sign | Adopt | Cosign
"""What takes a while, and is answered by an event."""
Command = Task | Send | Write | Admit | Drop


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event."""

    commands: tuple[Command, ...]
    fault: ProtocolError | None = None
    """Why it had no effect: what was due before is still due then."""


class JournalPort(Protocol):
    """Where signed messages are noted (node/journal.py)."""

    def remember(self, slot: str, run: str, round: int, body: bytes, message: bytes) -> None:
        """Note a message before it is sent. Raises AlreadySigned."""


class Core:
    """One node: its view, and what it has asked for that can still be called off."""

    def __init__(self, peer: PeerId, topic: TopicId, account: AccountId, observer: Observer) -> None:
        self.view = View(peer=peer, topic=topic)
        self.due: Nanoseconds | None = None
        """When a Tick is due, by the clock that `take` is given."""
        self.copies = Copies(account)
        self._observer = observer
        self._training: Train | None = None
        self._admit: Admit | None = None

    def take(self, event: Event, now: Nanoseconds) -> Outcome:
        """What to do about an event at local time `now`. Raises Invalid when one of our own breaks a rule: a bug."""
        if isinstance(event, Recorded):
            self.copies.on_folded(event.stamp.sequence)
        before = self.view
        try:
            self.view, effects = step(before, event, now)
        except Ignore as reason:
            return Outcome((), reason)
        except Invalid as fault:
            if isinstance(event, Received):
                return Outcome((Drop(event.sender, str(fault)),), fault)
            if isinstance(event, Recorded):
                return Outcome((), fault)
            raise
        # With the very time that `step` was given: a later one could miss what fell due in between.
        self.due = alarm(self.view, now)
        self._observer.on_step(before, self.view, event, now)
        is_new = self.view.live and (not before.live or _is_other_circle(before.state, self.view.state))
        admission = self._admission() if is_new else ()  # nobody is talked to before the topic has been read
        return Outcome((*admission, *self._commands(effects)))

    def _commands(self, effects: Effects) -> tuple[Command, ...]:
        commands: list[Command] = []
        for effect in effects:
            match effect:
                case Submit(record):
                    # Its key is that of this moment: it must not be that of a copy which comes back meanwhile.
                    commands.append(Write(record, self.copies.key_of(record)))
                    continue
                case Train():
                    self._training = effect
                case Merge():
                    self._training = None  # all of it is in what is merged
                case Score() if self._training is not None and effect.round >= self._training.round:
                    self._training = None  # it is another's turn: our work ahead is in vain
            commands.append(effect)
        return tuple(commands)

    def _admission(self) -> tuple[Admit, ...]:
        state = self.view.state
        if state is None:
            return ()
        peers = admitted(state, self.view.peer)
        said = zip(state.roster, state.whereabouts, strict=True)
        addresses = tuple((m.peer, w.addresses) for m, w in said if w is not None and m.peer in peers)
        admit = Admit(peers, addresses)
        if admit == self._admit:
            return ()
        self._admit = admit
        return (admit,)

    @property
    def admission(self) -> Admit | None:
        """Whom to talk to, as it was last asked for."""
        return self._admit

    def is_wanted(self, effect: Train | Merge | Score) -> bool:
        """Whether what the learner is to do has not been overtaken by the topic, or by a later wish."""
        state = self.view.state
        last = 0 if state is None or state.last is None else state.last.number
        if isinstance(effect, Train):
            return effect.round > last and effect == self._training
        if isinstance(effect, Merge):
            return effect.round > last
        return effect.round >= last  # a late vote still has its credit


def _is_other_circle(before: RunState | None, after: RunState | None) -> bool:
    """Whether who belongs to the run, or where they listen, may have changed."""
    if before is None or after is None:
        return after is not before
    circle = (before.roster, before.seats, before.whereabouts)
    return any(
        old is not new
        for old, new in zip(circle, (after.roster, after.seats, after.whereabouts), strict=True)
    )


def received(sender: PeerId, frame: bytes) -> Received | Drop:
    """What a peer's frame says, or what to do about a peer that says nothing valid."""
    try:
        return Received(sender, parse_message(frame))
    except Invalid as fault:
        return Drop(sender, str(fault))


def scored(effect: Score, found: Comparison) -> Scored:
    """The vote that a comparison calls for. Raises LearnerError when it is none."""
    if abs(found.gain) > MAX_GAIN:
        raise LearnerError(f"the learner found a gain of {found.gain} ppm; update its package")
    return Scored(effect.round, effect.candidate, choice_for(found.gain, found.error), found.gain)


def signed(body: Body, secret: bytes, journal: JournalPort) -> tuple[Signed, bool]:
    """A body signed, in the journal before anybody hears of it; and whether it is as asked for.

    After a crash a round gets the same words, or none: where the journal has another body in its place, that one.
    """
    slot, raw = slot_of(body), canonical(body)
    signature = sign(secret, kind_of(body), body)
    try:
        journal.remember(slot, body.run, body.round, raw, signature.encode() + raw)
    except AlreadySigned as earlier:
        before, words = earlier.existing[: len(signature)], earlier.existing[len(signature) :]
        return Signed(_BODY.validate_json(words), Signature(before.decode())), False
    return Signed(body, signature), True
