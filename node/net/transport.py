"""The transport port: frames and blobs between roster members, trusted for nothing (SPEC.md)."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from node.partial import Partial
from node.pieces import Pieces
from protocol.ids import Digest, PeerId

MAX_FRAME = 64 * 1024
"""Bytes of the largest control frame; a longer one is refused before it is read."""


class FetchFailed(Exception):
    """A blob could not be had from a peer; the message says why."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A control stream to an admitted peer is up."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The control stream to a peer is gone; while the peer is admitted it comes back when it can."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Frame:
    """A control frame from a peer that was admitted, at most MAX_FRAME bytes, not parsed yet."""

    peer: PeerId
    body: bytes


Inbound = Connected | Disconnected | Frame


@dataclass(frozen=True, slots=True)
class Contact:
    """What a node knows of its way to a peer."""

    peer: PeerId
    address: str | None
    """The multiaddr where we reached it, or dial it next; None where none is known, and we wait to be dialled."""
    is_connected: bool
    latency: float | None
    """Seconds of the last round trip on the control stream; None before the first."""
    received: int
    """Bytes from the peer, blobs included, since this node started."""
    sent: int
    """Bytes to the peer, likewise."""
    refused_for: float
    """Seconds for which it is still refused because it misbehaved; 0 when it is not."""


class Held(Protocol):
    """What a node has of a blob, all or a part."""

    @property
    def size(self) -> int:
        """Bytes of all of it."""

    @property
    def pieces(self) -> Pieces | None:
        """What its pieces are, once that is known."""

    @property
    def have(self) -> int:
        """How many pieces are here."""

    def bits(self) -> bytes:
        """Which, one bit each."""

    def has(self, index: int) -> bool:
        """Whether a piece is here; for any number."""

    def read(self, index: int) -> bytes | None:
        """The bytes of a piece that is here, or None when they have rotted; blocks. Raises OSError."""


class BlobSource(Protocol):
    """Where a transport finds the blobs it may serve."""

    async def held(self, digest: Digest) -> Held | None:
        """What is here of a blob, or None."""

    async def grown(self) -> None:
        """Wait until there is more of some blob."""


Blame = Callable[[PeerId, str], None]
"""Is told which source failed, and why."""


class Transport(Protocol):
    """One node's end of the network, open while its context manager is; it admits nobody at first."""

    @property
    def peer(self) -> PeerId:
        """This node's own id."""

    def admit(self, peers: frozenset[PeerId]) -> None:
        """From now on exactly these peers may connect, be dialled, send and fetch; all others are cut off.

        Never blocks, and does nothing when they are the same as before. What a peer sent before it was cut off
        may still be read. A peer that `drop` refuses stays refused for its while.
        """

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Where peers say that they listen (multiaddrs), beside what is known from elsewhere; all of them each time."""

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a peer; False when it is not connected or its queue is full. Never blocks."""

    def inbound(self) -> AsyncIterator[Inbound]:
        """What arrives, in order, from a bounded queue: a peer that floods waits, others do not."""

    async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
        """Get all pieces that a blob lacks, each checked before it is kept, from several sources at once.

        sources: the likeliest first; of the others, which may be fetching it as well, each takes a share of it.
        Raises FetchFailed when nobody is left to ask, and OSError when the disk does not take them. What has come
        by then, or when it is cancelled, stays.
        """

    def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a peer that misbehaved and refuse it for a while."""

    def contacts(self) -> tuple[Contact, ...]:
        """The way to each admitted peer as it is now, by peer id."""
