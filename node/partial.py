"""A blob that is still being fetched: its pieces on disk, each of them checked, and handed on before all are there.

Nothing but the pieces' bytes and their list is on disk, and nothing of it is trusted after a restart: whatever does
not have its digest then is fetched again. So a crash at any point, or a file half written, needs no care.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from node.pieces import Pieces, Wanted, bits_of, length_of
from protocol.ids import Digest, base64url
from protocol.messages import PIECE_BYTES

PART, LIST = ".part", ".pieces"


class BadBlob(Exception):
    """Bytes that are not those a digest names; the message says which."""


class Partial:
    """A blob in the making. `write`, `learn`, `resume` and `finish` are for one thread at a time."""

    def __init__(self, target: Path, wanted: Wanted, on_news: Callable[[], None]) -> None:
        """target: the file it will be once it is whole. on_news: called in `mark`."""
        self.wanted = wanted
        self.pieces: Pieces | None = None
        """What its pieces must be, once that is known."""
        self.liars: set[str] = set()
        """Who has served what it is not; not asked for it again."""
        self._target = target
        self._part = target.with_name(target.name + PART)
        self._list = target.with_name(target.name + LIST)
        self._on_news = on_news
        self._here: set[int] = set()
        self._written: set[int] = set()
        self._whole = hashlib.sha256()
        self._hashed = 0

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        return self.wanted.size

    @property
    def have(self) -> int:
        """How many pieces are here."""
        return len(self._here)

    @property
    def is_complete(self) -> bool:
        """Whether all pieces are here."""
        return self.have == self.wanted.count

    def bits(self) -> bytes:
        """Which pieces are here, one bit each."""
        return bits_of(self._here, self.wanted.count)

    def has(self, index: int) -> bool:
        """Whether a piece is here."""
        return index in self._here

    def missing(self) -> frozenset[int]:
        """The pieces that are not here."""
        return frozenset(range(self.wanted.count)) - self._here

    def resume(self) -> None:
        """Take up what an earlier attempt has left, as far as it is right. Raises OSError."""
        self.pieces = self.wanted.alone() or self._read_list()
        if self.pieces is None:
            self._part.unlink(missing_ok=True)
        elif self._part.is_file():
            for index in range(self.wanted.count):
                data = self._on_disk(index)
                if self.pieces.is_right(index, data):
                    self._absorb(index, data)
            self._here = set(self._written)

    def learn(self, listed: bytes) -> None:
        """Take the list of the pieces, which the caller has checked, and note it for later. Raises OSError."""
        self.pieces = Pieces(self.wanted.digest, self.size, listed)
        self._list.write_bytes(listed)

    def write(self, index: int, data: bytes | bytearray) -> bool:
        """Put a piece on disk; False when it is not the right one. Raises OSError; `mark` it afterwards."""
        if self.pieces is None or not self.pieces.is_right(index, data):
            return False
        if index not in self._written:
            handle = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not self._written:
                    os.ftruncate(handle, self.size)  # what is to come counts for the quota
                if os.pwrite(handle, data, index * PIECE_BYTES) < len(data):
                    raise OSError(28, "no space left for a whole piece")
            finally:
                os.close(handle)
            self._absorb(index, data)
        return True

    def mark(self, index: int) -> None:
        """From now on a piece that was written is served; in the event loop."""
        if index in self._written and index not in self._here:
            self._here.add(index)
            self._on_news()

    def read(self, index: int) -> bytes | None:
        """The bytes of a piece that is here, or None when they have rotted. Raises OSError."""
        try:
            data = self._on_disk(index)
        except FileNotFoundError:
            with self._target.open("rb", buffering=0) as file:  # it has become whole meanwhile
                data = os.pread(file.fileno(), length_of(index, self.size), index * PIECE_BYTES)
        return data if self.pieces is not None and self.pieces.is_right(index, data) else None

    def finish(self) -> Path:
        """Make it a whole blob. Raises BadBlob when its bytes are not those of its digest, and OSError."""
        if base64url(self._whole.digest()) != self.wanted.digest or not self.is_complete:
            self.remove()
            raise BadBlob(f"the pieces are not those of {self.wanted.digest}: its proposer named others")
        self._part.replace(self._target)
        self._list.unlink(missing_ok=True)
        return self._target

    def remove(self) -> None:
        """Forget it, and what is on disk of it."""
        self._part.unlink(missing_ok=True)
        self._list.unlink(missing_ok=True)

    def _absorb(self, index: int, data: bytes | bytearray) -> None:
        """Note a piece, and take as many as lie in order into the digest of the whole."""
        self._written.add(index)
        if index == self._hashed:
            self._whole.update(data)
            self._hashed += 1
            while self._hashed in self._written:
                self._whole.update(self._on_disk(self._hashed))
                self._hashed += 1

    def _on_disk(self, index: int) -> bytes:
        with self._part.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length_of(index, self.size), index * PIECE_BYTES)

    def _read_list(self) -> Pieces | None:
        try:
            listed = self._list.read_bytes()
        except FileNotFoundError:
            return None
        return Pieces(self.wanted.digest, self.size, listed) if self.wanted.accepts(listed) else None


def digest_named(name: str) -> Digest | None:
    """The digest that a file of the store is named after, or None."""
    stem = name.removesuffix(PART).removesuffix(LIST)
    try:
        raw = bytes.fromhex(stem)
    except ValueError:
        return None
    return Digest(base64url(raw)) if len(raw) == 32 and raw.hex() == stem else None
