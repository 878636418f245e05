"""What every importer gives: frames one after the other, and an honest account of those it could not give."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from learners.data.episode import MAX_IMAGE_BYTES, DataError, Features, ImageShape
from learners.data.pictures import check_picture

MAX_ROWS = 5_000_000
"""Rows of one recording."""
MAX_LOG_BYTES = 1024 * 1024 * 1024
"""Bytes of one file that says what was recorded, without the pictures."""
MAX_NOTES = 100
CONTROLS = ("steering", "throttle")
"""Actions as the track world has them: in [-1, 1], steering positive to the left, throttle negative to brake."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of a recording."""

    drive: int
    """Frames of different drives never share an episode."""
    time: float
    """Seconds, on the recording's own clock."""
    state: tuple[float, ...]
    action: tuple[float, ...]
    intervention: bool = False
    image: bytes | None = None
    task: str = "drive"


@dataclass(slots=True)
class _Problem:
    count: int
    first: str


@dataclass(slots=True)
class Account:
    """What was not taken, by reason; filled while a recording is read."""

    problems: dict[str, _Problem] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: int = 0

    def skip(self, reason: str, where: str) -> None:
        """One row is left out. reason: one of a few; where: the first of each is shown."""
        found = self.problems.setdefault(reason, _Problem(0, where))
        found.count += 1

    def note(self, text: str) -> None:
        """Say something of the recording as a whole."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that were left out for one reason."""

    reason: str
    rows: int
    first: str
    """Where the first of them is."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import did."""

    kind: str
    rows: int
    """Rows the recording has, those that could not be read included."""
    episodes: int
    """Episodes that are new in the dataset."""
    frames: int
    """Their frames."""
    known_episodes: int
    """Episodes that the dataset had before."""
    known_frames: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


class Recording(Protocol):
    """A recording that was opened, and found to be one."""

    kind: str
    """The format."""
    beginning: str
    """A digest of how it begins: a recording that grew keeps it."""
    digest: str
    """A digest of all of it that is not pictures."""
    features: Features
    keeps_episodes: bool
    """Whether its drives are episodes already, and are not cut for their length."""

    def frames(self, account: Account) -> Iterator[Frame]:
        """All that can be read, in order; the rest goes into the account. Raises DataError."""


def digest_of_files(paths: Iterable[Path]) -> str:
    """The SHA-256 of files, names included. Raises DataError."""
    found = hashlib.sha256()
    for path in paths:
        check_size(path)
        data = path.read_bytes()
        found.update(f"{path.name} {len(data)}\n".encode())
        found.update(data)
    return found.hexdigest()


def check_size(path: Path, limit: int = MAX_LOG_BYTES) -> None:
    """Refuse what is no file, or a huge one. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    if path.stat().st_size > limit:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {limit:,} are read")


def picture_at(folder: Path, name: str) -> tuple[bytes, ImageShape]:
    """A picture by its bare name, decoded once to be sure. Raises DataError with one of a few reasons."""
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0") or len(name) > 255:
        raise DataError("the picture's name is no file name")
    path = folder / name
    if not path.is_file():
        raise DataError("the picture is missing")
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise DataError("the picture is too large")
    data = path.read_bytes()
    try:
        return data, check_picture(data)
    except DataError:
        raise DataError("the picture cannot be decoded") from None


def first_shape(folder: Path, names: Iterable[str]) -> ImageShape:
    """The size of the first picture that can be read; all of a recording have one size. Raises DataError."""
    for name in names:
        try:
            return picture_at(folder, name)[1]
        except DataError:
            continue
    raise DataError(f"no picture in {folder} can be read; a recording needs its pictures beside it")


def usual_fps(times: Iterable[float], otherwise: int) -> int:
    """Frames a second: from the median step, which gaps and doubled frames do not move."""
    moments = list(times)
    steps = sorted(b - a for a, b in itertools.pairwise(moments) if b > a)
    return min(max(round(1 / steps[len(steps) // 2]), 1), 1000) if steps else otherwise
