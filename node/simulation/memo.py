"""What is pure is found out once in a simulation: signatures, messages, and what a record does to a state.

Nodes that have read the same records then hold the very same state. A fold without any memory is compared
with it when the simulation ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from node.core import Drop, received
from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.fields import Model
from protocol.fold import Found, fold_record, folded_by
from protocol.ids import PeerId, PublicKey, TopicId
from protocol.messages import Message, parse_message
from protocol.records import Stamp
from protocol.signing import checked_by, holds
from protocol.state import RunState
from protocol.view import Received


class Memo:
    """What was found out so far."""

    __slots__ = ("_folds", "_frames", "_parsed", "_signatures")

    def __init__(self) -> None:
        self._signatures: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._folds: dict[tuple[int, Stamp], tuple[RunState | None, RunState | ProtocolError]] = {}
        self._parsed: dict[bytes, Message] = {}
        self._frames: dict[tuple[PeerId, bytes], Received | Drop] = {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within this context `verify` and `read` ask this memory first."""
        with checked_by(self.holds), folded_by(self.fold):
            yield

    def holds(self, kind: str, body: Model, key: PublicKey, digest: bytes, compact: bytes) -> bool:
        """Whether a signature holds (protocol.signing.Checker)."""
        question = (key, digest, compact)
        answer = self._signatures.get(question)
        if answer is None:
            answer = self._signatures[question] = holds(kind, body, key, digest, compact)
        return answer

    def fold(
        self, state: RunState | None, topic: TopicId, raw: bytes, stamp: Stamp, found: Found
    ) -> RunState:
        """What a message does to a state (protocol.fold.Folder): a stamp, with its running hash, names a message."""
        question = (id(state), stamp)
        known = self._folds.get(question)
        if known is None:
            after: RunState | ProtocolError
            try:
                after = fold_record(state, topic, raw, stamp, found)
            except (Ignore, Invalid) as error:
                after = error
            # With the state itself, so that its id stays its own.
            known = self._folds[question] = (state, after)
        if isinstance(known[1], ProtocolError):
            raise known[1].with_traceback(None)
        return known[1]

    def parsed(self, frame: bytes) -> Message:
        """The message in a frame. Raises Invalid (protocol.messages.parse_message)."""
        answer = self._parsed.get(frame)
        if answer is None:
            answer = self._parsed[frame] = parse_message(frame)
        return answer

    def received(self, sender: PeerId, frame: bytes) -> Received | Drop:
        """What a frame says (node.core.received)."""
        question = (sender, frame)
        answer = self._frames.get(question)
        if answer is None:
            answer = self._frames[question] = received(sender, frame)
        return answer
