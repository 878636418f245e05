"""A topic as it is on the mirror, message by message: what each of them did to the run."""

from dataclasses import dataclass, field

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


@dataclass
class Topic:
    """A topic that holds a run, read as far as it was when it was last looked at."""

    id: TopicId
    pieces: History = field(init=False)
    told: list[Told] = field(default_factory=list)
    """Its messages, verified."""

    def __post_init__(self) -> None:
        self.pieces = History(self.id)

    async def read(self, mirror: Mirror) -> list[Told]:
        """All its messages."""
        transfers = MirrorTransfers(mirror)
        async for entry in mirror.messages(self.id, self.pieces.sequence):
            for message in self.pieces.add(entry):
                if isinstance(message, TopicMessage):
                    await self._take(message, transfers)
        return self.told

    async def _take(self, message: TopicMessage, transfers: MirrorTransfers) -> None:
        state, error = self.told[-1].state if self.told else None, None
        named = await found_for(transfers, state, message.body, message.stamp)
        try:
            state = read(state, self.id, message.body, message.stamp, named)
        except ProtocolError as reason:
            error = reason
        self.told.append(Told(message, state, error))
