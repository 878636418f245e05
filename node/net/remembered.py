"""The addresses that worked, on disk: a cache, so that a node finds the others again after a restart."""

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from node.net.addresses import Known, Scope, scope_of
from protocol.errors import shown
from protocol.ids import PeerId

MOST = 4096
"""Addresses that are kept, the latest first."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS worked (
    peer TEXT NOT NULL,
    address TEXT NOT NULL,
    at REAL NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (peer, address)
) STRICT, WITHOUT ROWID
"""

_CANNOT = "cannot use %s: %s; no addresses are remembered until the next start: check the disk and restart"

log = logging.getLogger(__name__)


class Remembered:
    """A Memory in an SQLite file; what cannot be read or written is told once in the log, and done without."""

    def __init__(self, path: Path, database: sqlite3.Connection | None) -> None:
        self._path = path
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "Remembered":
        """Open or make the file; one that is damaged is moved aside, without one nothing is remembered."""
        try:
            try:
                return cls(path, _opened(path))
            except sqlite3.OperationalError:
                raise  # The disk is full, or not ours: the file itself may be sound.
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # damage may be no text, too
                aside = path.with_name(path.name + ".damaged")
                log.warning(
                    "%s is damaged: %s; moved to %s, addresses are learnt anew",
                    path,
                    shown(error),
                    aside.name,
                )
                _move(path, aside)
            return cls(path, _opened(path))
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            log.warning(_CANNOT, path, shown(error))
            return cls(path, None)

    def close(self) -> None:
        """Close the file; nothing is noted afterwards."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> "Remembered":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recall(self) -> Mapping[PeerId, tuple[Known, ...]]:
        """What was noted before."""
        found: dict[PeerId, tuple[Known, ...]] = {}
        rows = self._execute("SELECT peer, address, at, failures FROM worked ORDER BY at DESC LIMIT ?", MOST)
        for peer, address, at, failures in rows:
            if scope_of(address) is not Scope.NOWHERE:
                known = Known(address, worked=at, failures=failures)
                found[PeerId(peer)] = (*found.get(PeerId(peer), ()), known)
        return found

    def note(self, peer: PeerId, known: Known) -> None:
        """Note an address that has worked, or has begun to fail."""
        self._execute(
            "INSERT OR REPLACE INTO worked VALUES (?, ?, ?, ?)",
            peer,
            known.address,
            known.worked,
            known.failures,
        )

    def forget(self, peer: PeerId, address: str) -> None:
        """Note an address no more."""
        self._execute("DELETE FROM worked WHERE peer = ? AND address = ?", peer, address)

    def _execute(self, statement: str, *values: object) -> list[tuple[str, str, float, int]]:
        if self._database is None:
            return []
        try:
            return self._database.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            log.warning(_CANNOT, self._path, shown(error))
            self.close()
            return []


def _move(path: Path, aside: Path) -> None:
    """Raises OSError."""
    path.replace(aside)
    for leftover in ("-wal", "-shm"):
        path.with_name(path.name + leftover).unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    """Raises OSError, sqlite3.Error, UnicodeDecodeError."""
    path.touch(mode=0o600)
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(" ".join(health.split()))
        # No flush to the disk: an address that a power cut takes away is learnt again.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(_SCHEMA)
        latest = "SELECT peer, address FROM worked ORDER BY at DESC LIMIT ?"
        database.execute(f"DELETE FROM worked WHERE (peer, address) NOT IN ({latest})", (MOST,))
    except (sqlite3.Error, UnicodeDecodeError):
        database.close()
        raise
    return database
