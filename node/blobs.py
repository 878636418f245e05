"""A content-addressed store on disk: a blob's file is named by the SHA-256 of its bytes, in hexadecimal.

Hexadecimal, and not the base64url of the wire, because some file systems do not tell upper from lower case.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from protocol.ids import Digest, base64url, digest_of, unbase64url

_TEMPORARY = ".tmp"


class BadBlob(Exception):
    """A file whose bytes are not those its digest names."""


class Blobs:
    """The blobs of one node, in one directory that nobody else writes to; a BlobSource."""

    def __init__(self, directory: Path) -> None:
        """Open or make the store, and remove what an interrupted transfer left behind."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        for leftover in directory.glob(f"*{_TEMPORARY}"):
            leftover.unlink()

    def path_of(self, digest: Digest) -> Path | None:
        """The file of a blob, or None. Raises ValueError when the text is no digest."""
        return stored_blob(self._directory, digest)

    def whole(self, digest: Digest) -> Path | None:
        """The file of a blob whose bytes are the ones that its digest names, or None: one that has rotted is removed.

        Reads all of it: a disk may give back other bytes than it was given, any time. Raises ValueError as `path_of`.
        """
        path = self.path_of(digest)
        try:
            if path is not None and _file_digest(path) != digest:
                path.unlink(missing_ok=True)
                return None
        except OSError:
            return None  # for now: the disk, or the system, may be of another mind later
        return path

    def size_of(self, digest: Digest) -> int | None:
        """The size of a blob in bytes, or None when it is not here."""
        path = self.path_of(digest)
        return None if path is None else path.stat().st_size

    def put(self, data: bytes) -> Digest:
        """Keep bytes and return their name; they are on the disk when this returns."""
        digest = digest_of(data)
        if self.path_of(digest) is None:
            temporary = self.new_temp()
            temporary.write_bytes(data)
            self._keep(temporary, digest)
        return digest

    def new_temp(self) -> Path:
        """An empty file of this store, to be filled and then given to `adopt_file`."""
        handle, name = tempfile.mkstemp(suffix=_TEMPORARY, dir=self._directory)
        os.close(handle)
        return Path(name)

    def keep(self, temporary: Path) -> Digest:
        """Keep a file of `new_temp` under the digest of its bytes; it is on the disk when this returns."""
        digest = _file_digest(temporary)
        self._keep(temporary, digest)
        return digest

    def adopt_file(self, temporary: Path, digest: Digest) -> Path:
        """Keep a file of `new_temp` under its digest; it is on the disk when this returns.

        Raises BadBlob when its bytes are others; the file is removed then.
        """
        if _file_digest(temporary) != digest:
            temporary.unlink()
            raise BadBlob(f"the bytes received are not those of {digest}")
        return self._keep(temporary, digest)

    def discard(self, digest: Digest) -> None:
        """Forget a blob; nothing happens when it is not here."""
        self._named(digest).unlink(missing_ok=True)

    def verify(self, digest: Digest) -> bool:
        """Whether a blob is here and its bytes are still the ones its digest names."""
        path = self.path_of(digest)
        return path is not None and _file_digest(path) == digest

    def _named(self, digest: Digest) -> Path:
        return _file_of(self._directory, digest)

    def _keep(self, temporary: Path, digest: Digest) -> Path:
        path = self._named(digest)
        temporary.chmod(0o600)
        _sync(temporary)
        temporary.replace(path)
        _sync(self._directory)
        return path


def stored_blob(directory: Path, digest: Digest) -> Path | None:
    """The file of a blob in a store that may be another process's, or None; nothing there is touched."""
    path = _file_of(directory, digest)
    return path if path.is_file() else None


def blob_named(path: Path) -> Digest | None:
    """The digest that a file of a store is named by, or None when it is no blob's."""
    try:
        raw = bytes.fromhex(path.name)
    except ValueError:
        return None
    return Digest(base64url(raw)) if len(raw) == 32 and raw.hex() == path.name else None


def _file_of(directory: Path, digest: Digest) -> Path:
    return directory / unbase64url(digest, 32).hex()


def _file_digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(base64url(hashlib.file_digest(file, "sha256").digest()))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
