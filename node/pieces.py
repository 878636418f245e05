"""The pieces of a blob: how many, where each lies, and what each must be (SPEC.md, messages)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio.to_thread

from protocol.ids import Digest, base64url, digest_of, unbase64url
from protocol.messages import PIECE_BYTES

T = TypeVar("T")
DIGEST_BYTES = 32
SMALL = 64 * 1024
"""Bytes of a blob up to which a thread for its file would take longer than the file."""


def piece_count(size: int) -> int:
    """How many pieces a blob of so many bytes has; an empty one has one, too."""
    return max(1, -(-size // PIECE_BYTES))


def length_of(index: int, size: int) -> int:
    """Bytes of one piece of a blob."""
    return min(PIECE_BYTES, size - index * PIECE_BYTES)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What the pieces of a blob must be."""

    digest: Digest
    """Of the whole blob."""
    size: int
    listed: bytes
    """SHA-256 of each piece, 32 bytes each, in order."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.listed) // DIGEST_BYTES

    @property
    def name(self) -> Digest | None:
        """Digest of the list, as a proposal says it; None where there is but one piece."""
        return digest_of(self.listed) if self.count > 1 else None

    def is_right(self, index: int, data: bytes | bytearray) -> bool:
        """Whether these are the bytes of a piece."""
        start = index * DIGEST_BYTES
        return hashlib.sha256(data).digest() == self.listed[start : start + DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob to be fetched."""

    digest: Digest
    size: int
    pieces: Digest | None
    """Digest of the list of its pieces; None where there is but one."""

    @property
    def count(self) -> int:
        """How many pieces it has."""
        return piece_count(self.size)

    def alone(self) -> Pieces | None:
        """What its piece must be, where there is but one: no list need be asked for."""
        if self.count > 1:
            return None
        return Pieces(self.digest, self.size, unbase64url(self.digest, DIGEST_BYTES))

    def accepts(self, listed: bytes) -> bool:
        """Whether this is the list of its pieces."""
        return len(listed) == self.count * DIGEST_BYTES and digest_of(listed) == self.pieces


def pieces_of(path: Path) -> Pieces:
    """What a file is, read once. Raises OSError."""
    size, whole, listed = 0, hashlib.sha256(), bytearray()
    room = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb") as file:
        while count := file.readinto(room):  # buffered: short only at the end
            whole.update(room[:count])
            listed += hashlib.sha256(room[:count]).digest()
            size += count
    digest = whole.digest()
    return Pieces(Digest(base64url(digest)), size, bytes(listed) or digest)


async def off_loop(size: int, work: Callable[..., T], *arguments: object) -> T:
    """The result of work on the file of a blob so large: in a thread, unless that would take longer."""
    if size <= SMALL:
        return work(*arguments)
    return await anyio.to_thread.run_sync(work, *arguments)


def bits_of(indices: Iterable[int], count: int) -> bytes:
    """A set of pieces as one bit each, the first piece in the highest bit of the first byte."""
    bits = bytearray((count + 7) // 8)
    for index in indices:
        bits[index >> 3] |= 0x80 >> (index & 7)
    return bytes(bits)


def indices_in(bits: bytes, count: int) -> Iterator[int]:
    """The set again; what is beyond the last piece does not count."""
    return (index for index in range(count) if bits[index >> 3] & (0x80 >> (index & 7)))
