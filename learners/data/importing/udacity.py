"""Recordings of Udacity's simulator: driving_log.csv, and a folder IMG with what three cameras saw.

Columns: the pictures of the centre, left and right camera, steering, throttle, reverse (in some versions:
brake), speed. There may be a header; paths are those of the computer that recorded, often a Windows one.
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from learners.data.episode import DataError, Features
from learners.data.importing.recording import (
    CONTROLS,
    MAX_ROWS,
    Account,
    Frame,
    digest_of_files,
    first_shape,
    picture_at,
    usual_fps,
)

KIND = "udacity"
COLUMNS = ("center", "left", "right", "steering", "throttle", "reverse", "speed")
MILES_PER_HOUR = 0.44704
"""Of one, in metres a second: the simulator shows miles an hour."""
MAX_SPEED = 500.0
ASSUMED_FPS = 10
_ALSO = {"brake": "reverse", "centre": "center", "steering_angle": "steering"}
_STAMP = re.compile(r"(\d{4})_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d{3})\.\w+$")
_LOOKED_AT = 2000
"""Rows from which the frame rate and the pictures' size are taken."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    picture: str
    time: float | None
    steering: float
    throttle: float
    speed: float


class UdacityRecording:
    """A folder with driving_log.csv, or that file."""

    kind = KIND
    keeps_episodes = False

    def __init__(self, source: Path) -> None:
        """Look at the first rows. Raises DataError when this is no such recording."""
        self._log = source / "driving_log.csv" if source.is_dir() else source
        self._pictures = self._log.parent / "IMG"
        self.digest = digest_of_files([self._log])
        first = list(islice(self._rows(Account()), _LOOKED_AT))
        if not first:
            raise DataError(f"{self._log} has no row with {len(COLUMNS)} columns, three of them pictures")
        self.beginning = _digest_of(first[0])
        self._has_times = first[0].time is not None
        fps = usual_fps((row.time for row in first if row.time is not None), ASSUMED_FPS)
        shape = first_shape(self._pictures, (row.picture for row in first))
        self.features = Features(fps, ("speed",), CONTROLS, shape)

    def frames(self, account: Account) -> Iterator[Frame]:
        """Every row whose numbers and centre picture are sound. Raises DataError."""
        account.note("the left and the right camera are not imported")
        if not self._has_times:
            account.note(f"the pictures' names tell no time: {ASSUMED_FPS} frames a second are assumed")
        for row in self._rows(account):
            where = f"{self._log.name}, line {row.line}"
            if self._has_times and row.time is None:
                account.skip("the picture's name tells no time, as others do", where)
                continue
            time = row.line / ASSUMED_FPS if row.time is None or not self._has_times else row.time
            try:
                image, shape = picture_at(self._pictures, row.picture)
                if shape != self.features.image:
                    raise DataError("the picture has another size than the first")
            except DataError as fault:
                account.skip(str(fault), f"{where}: {row.picture[:80]}")
                continue
            yield Frame(0, time, (row.speed,), (0.0 - row.steering, row.throttle), image=image)

    def _rows(self, account: Account) -> Iterator[_Row]:
        places = {name: place for place, name in enumerate(COLUMNS)}
        with self._log.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            for number in range(MAX_ROWS + 1):
                try:
                    cells = [cell.strip() for cell in next(reader)]
                except StopIteration:
                    return
                except csv.Error as fault:
                    account.skip(
                        f"a row that is no CSV: {fault}", f"{self._log.name}, line {reader.line_num}"
                    )
                    continue
                if not any(cells):
                    continue
                if number == 0 and (header := _header(cells, account)):
                    places = header
                    continue
                account.rows += 1
                try:
                    yield _parse(cells, places, reader.line_num)
                except DataError as fault:
                    account.skip(str(fault), f"{self._log.name}, line {reader.line_num}")
        raise DataError(f"{self._log} has more than {MAX_ROWS:,} rows; cut it")


def _header(cells: list[str], account: Account) -> dict[str, int] | None:
    """Where each column is, if this row names them. Raises DataError when one is missing."""
    names = [_ALSO.get(cell.lower(), cell.lower()) for cell in cells]
    if "center" not in names and "steering" not in names:
        return None
    if missing := [name for name in COLUMNS if name not in names]:
        raise DataError(f"driving_log.csv names its columns, and none is {missing[0]}")
    if foreign := [cell[:40] for cell, name in zip(cells, names, strict=True) if name not in COLUMNS]:
        account.note(f"columns that are not imported: {', '.join(foreign[:20])}")
    return {name: names.index(name) for name in COLUMNS}


def _parse(cells: list[str], places: dict[str, int], line: int) -> _Row:
    if len(cells) <= max(places.values()):
        raise DataError("fewer columns than a row has")
    picture = re.split(r"[\\/]", cells[places["center"]])[-1]
    if not picture:
        raise DataError("no picture of the centre camera is named")
    steering, throttle, reverse, speed = (
        _number(cells[places[name]], name) for name in ("steering", "throttle", "reverse", "speed")
    )
    if abs(steering) > 1 or not -1 <= throttle <= 1 or not -1 <= reverse <= 1 or abs(speed) > MAX_SPEED:
        raise DataError("a number is out of range")
    backing = max(-1.0, throttle - abs(reverse))
    return _Row(line, picture, _time(picture), steering, backing, speed * MILES_PER_HOUR)


def _number(cell: str, name: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        raise DataError(f"{name} is no number") from None
    if not math.isfinite(found):
        raise DataError(f"{name} is not finite")
    return found


def _time(picture: str) -> float | None:
    """Seconds of a name like center_2024_01_31_22_05_51_453.jpg; its time zone is not known, nor needed."""
    found = _STAMP.search(picture)
    if found is None:
        return None
    *date, milliseconds = map(int, found.groups())
    try:
        year, month, day, hour, minute, second = date
        return datetime(year, month, day, hour, minute, second, milliseconds * 1000, UTC).timestamp()
    except ValueError:
        return None


def _digest_of(row: _Row) -> str:
    return hashlib.sha256(f"{row.picture} {row.steering} {row.throttle} {row.speed}".encode()).hexdigest()
