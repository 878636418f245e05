"""The journal: every transaction that reached consensus, with its time, flushed before it is answered.

    file    MAGIC, then frames
    frame   uint32 length, uint32 CRC-32 of the payload, payload; big-endian
    payload of the first frame: genesis, that is uint64 time, the operator's ed25519 public key, and the list
        of prices as TOML
    payload of every other: one or more of uint64 time, uint16 length, serialized Transaction

A frame is one write, so a crash can leave at most the last one torn; it was never answered, and is cut off.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ledger.localnet.envelope import MAX_TRANSACTION_BYTES
from ledger.localnet.errors import LocalnetError
from ledger.localnet.fees import default_prices
from ledger.localnet.files import write_private

MAGIC = b"roundabout localnet 2\n"
MAX_BATCH = 1_024
"""Transactions in one frame."""

_FRAME = struct.Struct(">II")
_GENESIS = struct.Struct(">Q32s")
_ITEM = struct.Struct(">QH")
_MAX_PAYLOAD = MAX_BATCH * (_ITEM.size + MAX_TRANSACTION_BYTES)


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first frame: what the ledger starts from."""

    time: int
    """Nanoseconds since the epoch."""
    operator_key: bytes
    """The raw ed25519 public key of 0.0.2."""
    fees: str = field(default_factory=default_prices)
    """The list of prices, TOML: what is charged must not change under a journal."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """One transaction with the consensus time it was given."""

    time: int
    raw: bytes


class Journal:
    """A journal open for appending; its directory is held by this process alone."""

    def __init__(self, path: Path, genesis: Genesis) -> None:
        """Open a journal, or begin one with `genesis`, and cut off a torn last frame.

        Raises LocalnetError when it is damaged before its end.
        """
        if not path.exists():
            first = _GENESIS.pack(genesis.time, genesis.operator_key) + genesis.fees.encode()
            write_private(path, MAGIC + _framed(first))
        self._file = path.open("r+b", buffering=0)
        self._path = path
        try:
            self.genesis, self._replay, end = _read(path, self._file.readall())
            self.torn_bytes = self._file.seek(0, os.SEEK_END) - end
            """What was cut off the end, 0 after a clean stop."""
            if self.torn_bytes:
                self._file.truncate(end)
                os.fsync(self._file.fileno())
            self._file.seek(end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def replay(self) -> Iterator[Ordered]:
        """Every transaction that was there when the journal was opened, in consensus order; once."""
        while self._replay:
            yield from _items(self._path, self._replay.pop(0))

    def append(self, batch: Iterable[Ordered]) -> None:
        """Write transactions as one frame and flush it. Raises OSError; the frame may then be torn."""
        payload = b"".join(_ITEM.pack(item.time, len(item.raw)) + item.raw for item in batch)
        if not payload:
            return
        frame = memoryview(_framed(payload))
        while frame:
            frame = frame[self._file.write(frame) :]
        os.fsync(self._file.fileno())


def _framed(payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _read(path: Path, data: bytes) -> tuple[Genesis, list[bytes], int]:
    """The genesis, the other frames' payloads, and where the last whole frame ends."""
    first = _payload_at(data, len(MAGIC)) if data.startswith(MAGIC) else None
    if first is None or len(first) < _GENESIS.size:
        raise LocalnetError(
            f"{path} is not a localnet journal: choose another directory, or move the file away"
        )
    time, operator_key = _GENESIS.unpack_from(first)
    genesis = Genesis(time, operator_key, first[_GENESIS.size :].decode())
    end = len(MAGIC) + _FRAME.size + len(first)
    payloads = []
    while (payload := _payload_at(data, end)) is not None:
        payloads.append(payload)
        end += _FRAME.size + len(payload)
    # A torn write has nothing whole after it; if something is, acknowledged history has been damaged, and
    # cutting there would lose it in silence.
    if any(_payload_at(data, start) is not None for start in range(end + 1, len(data) - _FRAME.size)):
        raise LocalnetError(
            f"{path} is damaged at byte {end}: restore it from a copy, or begin in another directory"
        )
    return genesis, payloads, end


def _payload_at(data: bytes, start: int) -> bytes | None:
    if len(data) - start < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack_from(data, start)
    begin = start + _FRAME.size
    if not 0 < length <= min(_MAX_PAYLOAD, len(data) - begin):
        return None
    payload = data[begin : begin + length]
    return payload if zlib.crc32(payload) == checksum else None


def _items(path: Path, payload: bytes) -> Iterator[Ordered]:
    offset = 0
    while offset < len(payload):
        if len(payload) - offset < _ITEM.size:
            raise LocalnetError(f"{path} was written by another version: begin in another directory")
        time, length = _ITEM.unpack_from(payload, offset)
        offset += _ITEM.size
        yield Ordered(time, payload[offset : offset + length])
        offset += length
