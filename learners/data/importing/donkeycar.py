"""Donkeycar's tubs, version 2: manifest.json, catalog_*.catalog with one JSON object a line, and images/.

A record that its driver deleted is still there, and named in the manifest. `user/mode` says who drove; while the
pilot did, the user's controls are idle, and say nothing of how to drive.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from learners.data.episode import DataError, Features
from learners.data.importing.recording import (
    CONTROLS,
    MAX_ROWS,
    Account,
    Frame,
    check_size,
    digest_of_files,
    first_shape,
    picture_at,
    usual_fps,
)

KIND = "donkeycar"
MAX_MANIFEST = 64 * 1024 * 1024
MAX_LINE = 256 * 1024
IMAGE = "cam/image_array"
ANGLES = ("user/angle", "steering", "angle")
THROTTLES = ("user/throttle", "throttle")
SPEED = "enc/speed"
MODE = "user/mode"
ASSUMED_FPS = 20
_LOOKED_AT = 2000

_Control = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
_Number = Annotated[int, Field(ge=0, le=2**53)]


class _Catalogs(BaseModel):
    """The last line of the manifest."""

    model_config = ConfigDict(frozen=True, strict=True)

    paths: Annotated[list[Annotated[str, Field(pattern=r"^catalog_\d{1,9}\.catalog$")]], Field(min_length=1)]
    deleted_indexes: list[_Number] = []


class _Record(BaseModel):
    """A line of a catalog, its controls under one name whatever the car's parts call them."""

    model_config = ConfigDict(frozen=True, strict=True)

    index: _Number = Field(validation_alias="_index")
    time: _Number = Field(validation_alias="_timestamp_ms")
    session: str | int = Field("", validation_alias="_session_id")
    image: str = Field(validation_alias=IMAGE)
    angle: _Control
    throttle: _Control
    speed: Annotated[float, Field(allow_inf_nan=False)] = Field(0.0, validation_alias=SPEED)
    mode: str = Field("user", validation_alias=MODE)


_NAMES = TypeAdapter(list[str])
_OBJECT = TypeAdapter(dict[str, object])


class DonkeycarRecording:
    """A tub's folder."""

    kind = KIND
    keeps_episodes = False

    def __init__(self, source: Path) -> None:
        """Read the manifest, and look at the first records. Raises DataError when this is no tub."""
        self._tub = source
        self._inputs, catalogs = _manifest(source / "manifest.json")
        self._catalogs = [source / name for name in catalogs.paths]
        self._deleted = frozenset(catalogs.deleted_indexes)
        self._angle, self._throttle = _control(self._inputs, ANGLES), _control(self._inputs, THROTTLES)
        there = [path for path in self._catalogs if path.is_file()]
        deleted = ",".join(map(str, sorted(self._deleted)))
        self.digest = hashlib.sha256(f"{digest_of_files(there)} {deleted}".encode()).hexdigest()
        first = list(islice(self._records(Account()), _LOOKED_AT))
        if not first:
            raise DataError(f"{source} has no record that can be read")
        with there[0].open("rb") as file:  # its first record, deleted or not: a deletion is no new recording
            self.beginning = hashlib.sha256(file.readline(MAX_LINE)).hexdigest()
        fps = usual_fps((record.time / 1000 for _, record in first), ASSUMED_FPS)
        shape = first_shape(source / "images", (record.image for _, record in first))
        self.features = Features(fps, ("speed",) if SPEED in self._inputs else (), CONTROLS, shape)

    def frames(self, account: Account) -> Iterator[Frame]:
        """Every record that a person drove, with a sound picture, and that was not deleted. Raises DataError."""
        used = {IMAGE, self._angle, self._throttle, MODE} | ({SPEED} & set(self._inputs))
        if foreign := [name[:40] for name in self._inputs if name not in used]:
            account.note(f"columns that are not imported: {', '.join(foreign[:20])}")
        has_speed = bool(self.features.states)
        drive, session = 0, None
        was_piloted = False
        expected: int | None = None
        for where, record in self._records(account):
            if record.session != session:
                drive, session, was_piloted = drive + 1, record.session, False
            elif record.index != expected:
                drive += 1  # records between were deleted: what is left does not follow on
            if record.mode != "user":
                was_piloted = True
                account.skip("the pilot drove", where)
                continue
            expected = record.index + 1
            try:
                image, shape = picture_at(self._tub / "images", record.image)
                if shape != self.features.image:
                    raise DataError("the picture has another size than the first")
            except DataError as fault:
                account.skip(str(fault), f"{where}: {record.image[:80]}")
                continue
            state = (record.speed,) if has_speed else ()
            controls = (0.0 - record.angle, record.throttle)
            # A person who drives after the pilot has taken over from it.
            yield Frame(drive, record.time / 1000, state, controls, was_piloted, image)

    def _records(self, account: Account) -> Iterator[tuple[str, _Record]]:
        rows = 0
        for path in self._catalogs:
            if not path.is_file():
                account.note(f"{path.name} is missing, with all its records")
                continue
            with path.open("rb") as file:
                number = 0
                while line := file.readline(MAX_LINE):
                    number, rows = number + 1, rows + 1
                    if rows > MAX_ROWS:
                        raise DataError(f"{self._tub} has more than {MAX_ROWS:,} records; cut it")
                    account.rows += 1
                    where = f"{path.name}, line {number}"
                    if len(line) == MAX_LINE and not line.endswith(b"\n"):
                        while line and not line.endswith(b"\n"):
                            line = file.readline(MAX_LINE)
                        account.skip("a record that is too long", where)
                        continue
                    if (record := self._record(line, where, account)) is not None:
                        yield where, record

    def _record(self, line: bytes, where: str, account: Account) -> _Record | None:
        try:
            found = _OBJECT.validate_json(line)
            found["angle"], found["throttle"] = found.get(self._angle), found.get(self._throttle)
            record = _Record.model_validate(found)
        except ValidationError as fault:
            error = fault.errors()[0]
            name = {"angle": self._angle, "throttle": self._throttle}.get(
                str(error["loc"][-1]) if error["loc"] else ""
            )
            what = name or ".".join(map(str, error["loc"])) or "the line"
            account.skip(f"a broken record: {what[:40]}: {error['msg'][:80]}", where)
            return None
        if record.index in self._deleted:
            account.skip("deleted by its driver", where)
            return None
        return record


def _manifest(path: Path) -> tuple[list[str], _Catalogs]:
    check_size(path, MAX_MANIFEST)
    lines = path.read_bytes().splitlines()
    if len(lines) < 5:
        raise DataError(f"{path} has {len(lines)} lines, and a tub of version 2 has 5; "
                        "convert an older tub with Donkeycar's own tools")  # fmt: skip
    try:
        return _NAMES.validate_json(lines[0]), _Catalogs.model_validate_json(lines[4])
    except ValidationError as fault:
        error = fault.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, error['loc'])) or 'a line'}: {error['msg']}") from None


def _control(inputs: list[str], names: tuple[str, ...]) -> str:
    for name in names:
        if name in inputs:
            return name
    raise DataError(f"the tub records no {names[0]}; its inputs are {', '.join(inputs)[:200] or 'none'}")
