"""How far a founding has come, on disk, so that what costs money is not done twice after a crash."""

from pathlib import Path

from pydantic import ValidationError

from ledger.files import write_whole
from node.config import ConfigError
from protocol.fields import AccountField, DigestField, Model, TopicField, canonical
from protocol.ids import AccountId, Digest, TopicId, digest_of

MAX_FILE = 4_096
"""Bytes of the longest file that is read."""


class _Noted(Model):
    of: DigestField
    treasury: AccountField | None = None
    topic: TopicField | None = None


class Progress:
    """What a founding has made so far; kept in a file, where it has one."""

    def __init__(self, path: Path | None, noted: _Noted | None = None) -> None:
        self._path = path
        self._noted = _Noted(of=digest_of(b"")) if noted is None else noted

    @property
    def treasury(self) -> AccountId | None:
        """The treasury's account, once it is there."""
        return self._noted.treasury

    @property
    def topic(self) -> TopicId | None:
        """The run's topic, once it is there."""
        return self._noted.topic

    def note(self, *, treasury: AccountId | None = None, topic: TopicId | None = None) -> None:
        """Note what was made, on disk before this returns. Raises LedgerError."""
        made = {"treasury": treasury, "topic": topic}
        changes = {name: value for name, value in made.items() if value is not None}
        self._noted = self._noted.model_copy(update=changes)
        if self._path is not None:
            write_whole(self._path, canonical(self._noted), "the founding's progress")


def open_progress(path: Path, of: Digest) -> Progress:
    """How far the founding with a digest has come. Raises ConfigError when the file is another founding's."""
    try:
        noted = _Noted.model_validate_json(path.read_bytes()[:MAX_FILE])
    except FileNotFoundError:
        return Progress(path, _Noted(of=of))
    except (OSError, ValidationError):
        raise ConfigError(f"{path} cannot be read; put {path.parent} aside to found a run anew") from None
    if noted.of != of:
        raise ConfigError(
            f"what is to be founded has changed since {path.parent} was begun (topic {noted.topic}); undo the "
            "change to go on with that run, or put that directory aside to found another one"
        )
    return Progress(path, noted)
