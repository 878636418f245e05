"""What must survive a crash: every message this node has signed, so that no two contradict each other.

Call `remember` before a message is sent (SPEC.md, One round: two signed bodies in one round cost the stake).
"""

import sqlite3
from pathlib import Path

from protocol.errors import shown

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
    run TEXT NOT NULL,
    round INTEGER NOT NULL,
    slot TEXT NOT NULL,
    body BLOB NOT NULL,
    message BLOB NOT NULL,
    PRIMARY KEY (run, round, slot)
) STRICT, WITHOUT ROWID
"""


class JournalError(Exception):
    """The journal cannot be used; the message names cause and remedy in one line."""


class JournalFull(JournalError):
    """There is no room on the disk; nothing was noted, and nothing may be signed until there is."""


class AlreadySigned(Exception):
    """Another body of the same run, round and slot has been signed before."""

    def __init__(self, existing: bytes) -> None:
        super().__init__("this node has signed another message in this place of this round")
        self.existing = existing
        """The message that was signed first, which may be sent again."""


class Journal:
    """The messages a node has signed, on disk before `remember` returns; a call blocks for a disk write."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Open or make the journal, mode 0600. Raises JournalError."""
        database = None
        try:
            path.touch(mode=0o600)
            database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            # A vote that was sent but is not on the disk could be contradicted after a power cut.
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_SCHEMA)
            (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file's text may be no UTF-8
            if database is not None:
                database.close()
            raise JournalError(f"cannot open the journal {path}: {shown(error)}; {_REMEDY}") from error
        if health != "ok":
            database.close()
            raise JournalError(f"the journal {path} is damaged: {shown(health)}; {_REMEDY}")
        return cls(database, path)

    @classmethod
    def in_memory(cls) -> "Journal":
        """One without a file, for simulations: it outlives simulated crashes alone."""
        database = sqlite3.connect(":memory:", isolation_level=None)
        database.execute(_SCHEMA)
        return cls(database, Path(":memory:"))

    def close(self) -> None:
        """Close the file; the journal is not used afterwards."""
        self._database.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def remember(self, slot: str, run: str, round: int, body: bytes, message: bytes) -> None:
        """Note that `message`, with this body, is about to be sent; the same body again is no offence.

        Raises AlreadySigned when another body was noted for the same run, round and slot; JournalFull, JournalError.
        """
        insert = "INSERT INTO signed VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        select = "SELECT body, message FROM signed WHERE run = ? AND round = ? AND slot = ?"
        try:
            self._database.execute(insert, (run, round, slot, body, message))
            noted, existing = self._database.execute(select, (run, round, slot)).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise JournalFull(
                    f"cannot write to the journal {self._path}: {shown(error)}; free the disk"
                ) from error
            raise JournalError(f"cannot use the journal {self._path}: {shown(error)}; {_REMEDY}") from error
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise JournalError(f"cannot use the journal {self._path}: {shown(error)}; {_REMEDY}") from error
        if noted != body:
            raise AlreadySigned(existing)

    def signed(self, slot: str, run: str, round: int) -> bytes | None:
        """The message in this slot that was signed in a round, or None. Raises JournalError."""
        select = "SELECT message FROM signed WHERE run = ? AND round = ? AND slot = ?"
        try:
            row = self._database.execute(select, (run, round, slot)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise JournalError(f"cannot use the journal {self._path}: {shown(error)}; {_REMEDY}") from error
        return None if row is None else bytes(row[0])


_REMEDY = (
    "free the disk, or leave the run and join again with a new key: signing without a journal risks the stake"
)
