"""The blob protocol over any byte stream: serve one blob, or receive one (SPEC.md, Three places).

request  = SHA-256 (32 bytes)
response = status (u8: 0 found, 1 not found) | size (u64, big-endian) | the bytes
"""

import hashlib
import io
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread

from node.net.transport import BlobSource, FetchFailed
from protocol.ids import Digest, base64url

PIECE = 65_524
"""Bytes of one write: with the multiplexer's 12-byte header it is exactly one 64 KiB frame."""

_BATCH = 16 * PIECE
_REQUEST = 32
_RESPONSE = struct.Struct(">BQ")
_FOUND, _NOT_FOUND = 0, 1


class Lost(Exception):
    """A stream or connection to a peer is gone, or was given up; the message says why."""


class Stream(Protocol):
    """A byte stream to a peer; every failure is Lost."""

    async def read(self, limit: int, within: float) -> bytes:
        """Up to `limit` bytes, b"" when the peer has finished. Raises Lost, also after `within` seconds."""

    async def write(self, data: bytes) -> None:
        """Send all of it. Raises Lost, also when the peer does not take it in time."""


async def serve_blob(stream: Stream, source: BlobSource, stall: float) -> None:
    """Answer one request. Raises Lost; `stall` is how many seconds the request may take to arrive."""
    digest = Digest(base64url(await _read_exactly(stream, _REQUEST, stall)))
    file = await anyio.to_thread.run_sync(_opened, source, digest)
    if file is None:
        await stream.write(_RESPONSE.pack(_NOT_FOUND, 0))
        return
    with file:
        await stream.write(_RESPONSE.pack(_FOUND, file.seek(0, io.SEEK_END)))
        file.seek(0)
        while batch := await anyio.to_thread.run_sync(file.read, _BATCH):
            for start in range(0, len(batch), PIECE):
                await stream.write(batch[start : start + PIECE])


async def request_blob(stream: Stream, name: bytes, size: int, stall: float) -> AsyncGenerator[bytes, None]:
    """Ask for the blob with this SHA-256 and yield it in large parts, `size` bytes in all.

    stall: how many seconds each piece may take.

    Raises Lost, FetchFailed.
    """
    await stream.write(name)
    status, offered = _RESPONSE.unpack(await _read_exactly(stream, _RESPONSE.size, stall))
    if status == _NOT_FOUND:
        raise FetchFailed("does not have it")
    if status != _FOUND:
        raise FetchFailed(f"answered with the unknown status {status}")
    if offered != size:
        raise FetchFailed(f"offers {offered} bytes where {size} are expected")
    left = size
    while left:
        part = bytearray()
        while len(part) < min(left, _BATCH):
            part += await _read(stream, min(left - len(part), PIECE), stall)
        left -= len(part)
        yield bytes(part)


async def write_verified(parts: AsyncIterator[bytes], digest: Digest, out: Path) -> None:
    """Write a blob's parts to a file and compare the digest; a file that is not whole and right is removed.

    Raises FetchFailed when the digest differs.
    """
    hasher = hashlib.sha256()
    try:
        with out.open("wb") as file:
            async for part in parts:
                await anyio.to_thread.run_sync(_absorb, part, hasher, file)
        if base64url(hasher.digest()) != digest:
            raise FetchFailed("sent other bytes than the digest names")
    except BaseException:
        out.unlink(missing_ok=True)  # noqa: ASYNC240  (no await may come between a cancellation and this)
        raise


def _absorb(data: bytes, hasher: "hashlib._Hash", file: BinaryIO) -> None:
    hasher.update(data)
    file.write(data)


def _opened(source: BlobSource, digest: Digest) -> BinaryIO | None:
    path = source.whole(digest)
    try:
        return None if path is None else path.open("rb")
    except FileNotFoundError:
        return None  # The store forgot it since it was asked.


async def _read(stream: Stream, limit: int, stall: float) -> bytes:
    piece = await stream.read(limit, stall)
    if not piece:
        raise Lost("ended in the middle")
    return piece


async def _read_exactly(stream: Stream, size: int, stall: float) -> bytes:
    data = b""
    while len(data) < size:
        data += await _read(stream, size - len(data), stall)
    return data
