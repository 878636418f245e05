"""A topic as it is on the mirror, message by message: what each of them did to the run."""

from dataclasses import dataclass

from ledger.chunks import History
from ledger.lookup import MirrorTransfers, found_for
from ledger.mirror import Mirror
from ledger.topic import TopicMessage
from protocol.errors import Ignore, ProtocolError
from protocol.fold import read
from protocol.ids import TopicId
from protocol.state import RunState


@dataclass(frozen=True)
class Told:
    """A message, and what became of it."""

    message: TopicMessage
    state: RunState | None
    """After it."""
    error: ProtocolError | None
    """Why it had no effect; None where it had one."""

    @property
    def is_invalid(self) -> bool:
        """Whether it was somebody's fault."""
        return self.error is not None and not isinstance(self.error, Ignore)


async def read_whole(mirror: Mirror, topic: TopicId) -> list[Told]:
    """All messages of a topic that holds a run, verified."""
    pieces, transfers = History(topic), MirrorTransfers(mirror)
    state: RunState | None = None
    found: list[Told] = []
    async for entry in mirror.messages(topic, 0):
        for message in pieces.add(entry):
            if not isinstance(message, TopicMessage):
                continue
            error = None
            named = await found_for(transfers, state, message.body, message.stamp)
            try:
                state = read(state, topic, message.body, message.stamp, named)
            except ProtocolError as reason:
                error = reason
            found.append(Told(message, state, error))
    return found
