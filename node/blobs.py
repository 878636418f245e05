"""A content-addressed store on disk: a blob's file is named by the SHA-256 of its bytes, in hexadecimal.

Hexadecimal, and not the base64url of the wire, because some file systems do not tell upper from lower case.

What is on disk from an earlier life is looked at before it is used: a file that has rotted, or that a lost power
supply left half written, is removed, and fetched again. So nothing has to be synced before it is used; `settle` syncs
what should outlive the machine's power.
"""

import errno
import hashlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from node.partial import BadBlob, Partial, digest_named
from node.pieces import Pieces, Wanted, length_of, pieces_of
from protocol.ids import Digest, base64url, digest_of, unbase64url
from protocol.messages import PIECE_BYTES

_TEMPORARY = ".tmp"
DEFAULT_QUOTA = 4 * 1024**3
"""Bytes that a store may hold unless it is told otherwise."""

log = logging.getLogger(__name__)


class Full(OSError):
    """The quota leaves no room; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole blob, as others may have it."""

    path: Path
    pieces: Pieces
    stamp: tuple[int, int]
    """Of the file, when its bytes were found right: when it was changed, and its size."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.pieces.size

    @property
    def have(self) -> int:
        """How many pieces are here: all."""
        return self.pieces.count

    def bits(self) -> bytes:
        """Which pieces are here, one bit each; those that pad the last byte are set, too."""
        return b"\xff" * ((self.pieces.count + 7) // 8)

    def has(self, index: int) -> bool:
        """Whether there is such a piece."""
        return 0 <= index < self.pieces.count

    def read(self, index: int) -> bytes | None:
        """The bytes of a piece, or None when they have rotted. Raises OSError."""
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length_of(index, self.size), index * PIECE_BYTES)
        return data if self.pieces.is_right(index, data) else None


class Blobs:
    """The blobs of one node, in one directory that nobody else writes to; a BlobSource."""

    def __init__(self, directory: Path, quota: int = DEFAULT_QUOTA) -> None:
        """Open or make the store, and remove what an interrupted write left behind; quota: in bytes."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._quota = quota
        self._whole: dict[Digest, Whole] = {}
        self._partial: dict[Digest, Partial] = {}
        self._unchecked: set[Digest] = set()
        """Whole blobs of an earlier life, which nobody has looked at yet."""
        self._fresh: set[Digest] = set()
        """Blobs that we have made, and nobody has asked to keep yet."""
        self._news: anyio.Event | None = None
        for file in directory.iterdir():
            if file.name.endswith(_TEMPORARY):
                file.unlink()
            elif (digest := blob_named(file)) is not None:
                self._unchecked.add(digest)

    def path_of(self, digest: Digest) -> Path | None:
        """The file of a blob, or None. Raises ValueError when the text is no digest."""
        return stored_blob(self._directory, digest)

    def whole(self, digest: Digest) -> Path | None:
        """The file of a blob whose bytes are the ones that its digest names, or None: one that has rotted is removed.

        Reads all of it; one of several pieces once in this process's life, and again when its file has changed.
        Raises ValueError as `path_of`.
        """
        path, known = self.path_of(digest), self._whole.get(digest)
        if path is None:
            return None
        try:
            if known is not None and known.pieces.count > 1 and known.stamp == _stamp(path):
                return path
            found = pieces_of(path)
            if found.digest != digest:
                log.warning("blob %s has rotted on disk: it is removed, to be fetched again", digest)
                self.discard(digest)
                return None
            self._keep_in_mind(path, found)
        except OSError:
            return None  # for now: the disk, or the system, may be of another mind later
        return path

    async def held(self, digest: Digest) -> Whole | Partial | None:
        """What there is of a blob to be served, or None; disks are not asked for what was never here."""
        found = self._whole.get(digest) or self._partial.get(digest)
        if found is None and digest in self._unchecked:
            await anyio.to_thread.run_sync(self.whole, digest)
            found = self._whole.get(digest)
        return found

    async def grown(self) -> None:
        """Wait until there is more of some blob."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def pieces_of(self, digest: Digest) -> Digest | None:
        """Digest of the list of a kept blob's pieces; None where there is but one. Raises KeyError."""
        return self._whole[digest].pieces.name

    def put(self, data: bytes) -> Digest:
        """Keep bytes and return their name. Raises OSError."""
        digest = digest_of(data)
        if self.whole(digest) is None:
            temporary = self.new_temp()
            temporary.write_bytes(data)
            self.keep(temporary)
        return digest

    def new_temp(self) -> Path:
        """An empty file of this store, to be filled and then given to `keep`."""
        handle, name = tempfile.mkstemp(suffix=_TEMPORARY, dir=self._directory)
        os.close(handle)
        return Path(name)

    def keep(self, temporary: Path) -> Digest:
        """Keep a file of `new_temp` under the digest of its bytes, at least until `release`. Raises Full, OSError."""
        self._check_room(0)
        found = pieces_of(temporary)
        path = self._named(found.digest)
        self._fresh.add(found.digest)
        temporary.replace(path)
        self._keep_in_mind(path, found)
        return found.digest

    def begin(self, wanted: Wanted) -> Partial:
        """A blob to be fetched, with what is here of it already. Raises Full, OSError; reads what is there."""
        partial = self._partial.get(wanted.digest)
        if partial is None or partial.wanted != wanted:
            partial = Partial(self._named(wanted.digest), wanted, self._tell)
            partial.resume()
        if not partial.have:
            self._check_room(wanted.size)
        return partial

    def share(self, partial: Partial) -> None:
        """From now on the pieces of a blob are served as they come; in the event loop."""
        self._partial[partial.wanted.digest] = partial
        self._tell()

    def finish(self, partial: Partial) -> None:
        """A blob has all its pieces. Raises BadBlob when they are not what its digest names, and OSError."""
        digest = partial.wanted.digest
        try:
            path = partial.finish()
        except BadBlob:
            self._partial.pop(digest, None)
            raise
        assert partial.pieces is not None
        self._keep_in_mind(path, partial.pieces)
        self._partial.pop(digest, None)

    def settle(self, digest: Digest) -> None:
        """Have a blob outlive a loss of power; nothing happens when it is not here. Raises OSError."""
        path = self.path_of(digest)
        if path is not None:
            _sync(path)
            _sync(self._directory)

    def discard(self, digest: Digest) -> None:
        """Forget a blob; nothing happens when it is not here."""
        self._whole.pop(digest, None)
        self._unchecked.discard(digest)
        self._named(digest).unlink(missing_ok=True)

    def doomed(self, kept: frozenset[Digest]) -> tuple[Path, ...]:
        """Forget all but these, partial ones as well; the files that are to be removed. Raises OSError."""
        files = []
        for file in self._directory.iterdir():
            digest = digest_named(file.name)
            if digest is not None and digest not in kept | self._fresh:
                files.append(file)
                self._whole.pop(digest, None)
                self._partial.pop(digest, None)
                self._unchecked.discard(digest)
        return tuple(files)

    def release(self, digest: Digest) -> None:
        """From now on a blob that we have made is kept no longer than others."""
        self._fresh.discard(digest)

    def used(self) -> int:
        """Bytes that the store holds, those among them that are still to come. Raises OSError."""
        return sum(file.stat().st_size for file in self._directory.iterdir())

    def verify(self, digest: Digest) -> bool:
        """Whether a blob is here and its bytes are still the ones its digest names."""
        path = self.path_of(digest)
        return path is not None and _file_digest(path) == digest

    def _check_room(self, size: int) -> None:
        used = self.used()
        if used + size > self._quota:
            raise Full(
                errno.EDQUOT,
                f"no room for {size} more bytes: {used} of {self._quota} are used; "
                "raise `quota` under [blobs], or make room on the disk",
            )

    def _keep_in_mind(self, path: Path, pieces: Pieces) -> None:
        self._whole[pieces.digest] = Whole(path, pieces, _stamp(path))
        self._unchecked.discard(pieces.digest)

    def _named(self, digest: Digest) -> Path:
        return _file_of(self._directory, digest)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


def stored_blob(directory: Path, digest: Digest) -> Path | None:
    """The file of a blob in a store that may be another process's, or None; nothing there is touched."""
    path = _file_of(directory, digest)
    return path if path.is_file() else None


def blob_named(path: Path) -> Digest | None:
    """The digest that a file of a store is named by, or None when it is no blob's."""
    return digest_named(path.name) if not path.suffix else None


def _file_of(directory: Path, digest: Digest) -> Path:
    return directory / unbase64url(digest, 32).hex()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _file_digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(base64url(hashlib.file_digest(file, "sha256").digest()))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
