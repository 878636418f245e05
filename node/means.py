"""What a node acts with: its key, its memory, and the ports to topic, learner and network."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from learners.learner import Comparison, LearnerSpec, Merging, Training
from ledger.lookup import Transfers
from ledger.topic import Topic
from node.blobs import Blobs
from node.cosigner import TreasuryPort
from node.history import BlobHistory
from node.identity import Identity
from node.journal import Journal
from node.net.transport import Transport
from node.observer import Observer, Unobserved
from protocol.ids import AccountId, Nanoseconds, Round, TopicId


class LearnerPort(Protocol):
    """A learner in its own process (learners/client.py), or a stub in tests; deadlines in seconds."""

    async def describe(self) -> LearnerSpec:
        """The public spec."""

    async def initial(self, out: Path) -> None:
        """Write the initial weights."""

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        """Train from the head and write a candidate."""

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        """Compare a candidate with the head."""

    @property
    def merges(self) -> bool:
        """Whether it can merge updates; known once it has described itself."""

    async def merge(
        self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path, deadline: float
    ) -> Merging:
        """Write one candidate made of our own and the others' updates."""

    async def adopt(self, head: Path, round: Round) -> None:
        """Take note of the head."""


OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens the network, which admits nobody until it is told whom."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a node acts with."""

    identity: Identity
    journal: Journal
    blobs: Blobs
    topic_id: TopicId
    topic: Topic
    account: AccountId
    """Who pays for what is written to the topic."""
    transfers: Transfers
    treasury: TreasuryPort
    learner: LearnerPort
    open_transport: OpenTransport
    clock: Callable[[], Nanoseconds]
    observer: Observer = field(default_factory=Unobserved)
    history: BlobHistory | None = None
    """Where the weights of past rounds are kept, for whoever wants to replay them; None: nowhere."""
    announced: tuple[str, ...] | None = None
    """Where the others are to find us (multiaddrs); None: nobody is told."""
