"""The weights that a node voted on and proposed, kept beyond their round, so that it can be replayed (docs/replay.md).

A blob of the history is another name of the store's own file where the disk can do that, and costs nothing as long
as the store keeps it, too. Nothing here is served to anybody.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from learners.files import TEMPORARY, write_whole
from node.blobs import Blobs, stored_blob
from node.pieces import pieces_of
from node.provenance import Provenance
from protocol.bodies import Body
from protocol.fields import DigestField
from protocol.ids import Digest, PeerId, Round, TopicId
from protocol.messages import ProposalBody
from protocol.view import Merge

FOLDER = "history"
"""Its place in a node's data directory."""
_NOTES = "provenance.json"
_MAX_NOTES = 1000
_MAX_FILE = 16 * 1024 * 1024  # bytes of the largest file of notes that is read

log = logging.getLogger(__name__)


class HistoryError(Exception):
    """The history cannot be used; the message names cause and remedy."""


class Note(BaseModel):
    """From which round on what was kept came about in which way."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    topic: str
    since: int = Field(ge=0)
    """The first round."""
    peer: str
    """Whose votes and proposals they are."""
    provenance: Provenance


_NOTED: TypeAdapter[list[Note]] = TypeAdapter(list[Note])


class MergeNote(BaseModel):
    """What a candidate of several peers' work was made of, in that order."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    own: DigestField
    updates: tuple[DigestField, ...]


class BlobHistory:
    """The history of one node, in one directory that nobody else writes to."""

    def __init__(
        self, directory: Path, quota: int, topic: TopicId, peer: PeerId, provenance: Provenance
    ) -> None:
        """Open or make it; quota: in bytes. Raises OSError, HistoryError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._quota = quota
        self._begun = Note(topic=topic, since=0, peer=peer, provenance=provenance)
        self._notes = read_notes(directory)
        self.turn = anyio.CapacityLimiter(1)
        """For the threads that call `keep`: one after the other."""
        self._used = 0
        self._is_full = False
        for file in directory.iterdir():
            if file.name.endswith(TEMPORARY):
                file.unlink()
            else:
                self._used += file.stat().st_size

    def keep(self, round: Round, blobs: Mapping[Digest, Path]) -> bool:
        """Keep the weights of a round, all or none of them: False when the quota has no room. Raises OSError."""
        new = {digest: file for digest, file in blobs.items() if stored_blob(self._directory, digest) is None}
        size = sum(file.stat().st_size for file in new.values())
        if self._used + size > self._quota:
            if not self._is_full:
                log.warning(
                    "the history is full: round %d and, it may be, those after it cannot be replayed; %d of %d bytes "
                    "are used; raise `history_quota` under [blobs], or move files out of %s",
                    round, self._used, self._quota, self._directory,
                )  # fmt: skip
            self._is_full = True
            return False
        self._is_full = False
        self._note(round)
        for digest, file in new.items():
            self._take(file, self._directory / file.name)
            log.debug("blob %s is kept for the history", digest)
        self._used += size
        return True

    def note_merge(self, round: Round, note: MergeNote) -> None:
        """Note what a candidate is made of; its parts are kept by `keep`. Raises OSError."""
        raw = note.model_dump_json().encode()
        write_whole(self._directory / _merge_name(round), raw)
        self._used += len(raw)

    def _take(self, file: Path, name: Path) -> None:
        try:
            os.link(file, name)  # a blob's file is never changed, only replaced or removed
        except FileExistsError:
            return
        except OSError:  # not every file system has links
            draft = name.with_name(name.name + TEMPORARY)
            shutil.copyfile(file, draft)
            draft.replace(name)

    def _note(self, round: Round) -> None:
        note = self._begun.model_copy(update={"since": round})
        if self._notes and self._notes[-1].model_copy(update={"since": round}) == note:
            return
        self._notes = [*self._notes, note][-_MAX_NOTES:]
        write_whole(self._directory / _NOTES, _NOTED.dump_json(self._notes, indent=1) + b"\n")


def read_notes(directory: Path) -> list[Note]:
    """What a history notes of itself, the oldest first; nothing where there is none. Raises HistoryError."""
    path = directory / _NOTES
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
        if len(raw) > _MAX_FILE:
            raise HistoryError(f"{path} is longer than any that a node writes; move {directory} away")
        return _NOTED.validate_json(raw)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HistoryError(f"cannot read {path}: {error.strerror}; check its rights") from None
    except ValidationError as error:
        where = error.errors(include_url=False, include_input=False)[0]
        raise HistoryError(
            f"{path} is damaged ({where['msg']}); restore it, or move {directory} away"
        ) from None


def read_merge(data: Path, round: Round) -> MergeNote | None:
    """What the candidate that a data directory's node merged in a round is made of; None where that was not noted.

    Raises HistoryError.
    """
    path = data / FOLDER / _merge_name(round)
    try:
        with path.open("rb") as file:
            return MergeNote.model_validate_json(file.read(_MAX_FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"cannot read {path}: {error.strerror}; check its rights") from None
    except ValidationError as error:
        where = error.errors(include_url=False, include_input=False)[0]
        raise HistoryError(f"{path} is damaged ({where['msg']}); restore it, or move it away") from None


def _merge_name(round: Round) -> str:
    return f"merge-{round}.json"


def kept_blob(data: Path, digest: Digest) -> Path | None:
    """The file of a blob, in the history or the store of a data directory, whose bytes are right; or None.

    Nothing there is touched. Raises OSError.
    """
    for directory in (data / FOLDER, data / "blobs"):
        path = stored_blob(directory, digest)
        if path is not None and pieces_of(path).digest == digest:
            return path
    return None


async def keep_round(history: BlobHistory | None, blobs: Blobs, round: Round, *digests: Digest) -> None:
    """Keep what a vote or a proposal is about; a disk that has no room is no reason not to take part."""
    if history is None:
        return
    files = {digest: path for digest in digests if (path := blobs.path_of(digest)) is not None}
    try:
        await anyio.to_thread.run_sync(history.keep, round, files, limiter=history.turn)
    except OSError as error:  # the disk, or the store has forgotten the blob meanwhile
        log.warning("round %d is not kept for the history: %s", round, error)


async def keep_merge(history: BlobHistory | None, blobs: Blobs, effect: Merge) -> None:
    """Keep what a candidate is about to be made of, so that it can be made again."""
    if history is None:
        return
    updates = tuple(digest for _, digest in effect.updates)
    await keep_round(history, blobs, effect.round, effect.head, effect.own, *updates)
    try:
        note = MergeNote(own=effect.own, updates=updates)
        await anyio.to_thread.run_sync(history.note_merge, effect.round, note)
    except OSError as error:
        log.warning("round %d: what was merged is not noted for the history: %s", effect.round, error)


async def keep_proposed(history: BlobHistory | None, blobs: Blobs, body: Body) -> None:
    """Keep what a body that is about to be signed proposes, if it proposes something."""
    if isinstance(body, ProposalBody):
        await keep_round(history, blobs, body.round, body.base, body.candidate)
