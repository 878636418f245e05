"""The transport port: frames and blobs between roster members, trusted for nothing (SPEC.md)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from protocol.ids import Digest, PeerId

MAX_FRAME = 64 * 1024
"""Bytes of the largest control frame; a longer one is refused before it is read."""


class FetchFailed(Exception):
    """A blob could not be had from a peer; the message says why."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A control stream to a roster member is up."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The control stream to a roster member is gone; it will be dialled again."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Frame:
    """A control frame from a roster member, at most MAX_FRAME bytes, not parsed yet."""

    peer: PeerId
    body: bytes


Inbound = Connected | Disconnected | Frame


class BlobSource(Protocol):
    """Where a transport finds the blobs it may serve."""

    def path_of(self, digest: Digest) -> Path | None:
        """The file of a whole, verified blob, or None."""


class Transport(Protocol):
    """One node's end of the network, open while its context manager is."""

    @property
    def peer(self) -> PeerId:
        """This node's own id."""

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a peer; False when it is not connected or its queue is full. Never blocks."""

    def inbound(self) -> AsyncIterator[Inbound]:
        """What arrives, in order, from a bounded queue: a peer that floods waits, others do not."""

    async def fetch(self, peer: PeerId, digest: Digest, size: int, out: Path) -> None:
        """Stream a blob of exactly `size` bytes into a file and check its digest. Raises FetchFailed."""

    def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a peer that misbehaved and refuse it for a while."""
