"""The file of a motion: its record as JSON, hostile until it is parsed."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from ledger.files import write_whole
from protocol.fields import canonical
from protocol.messages import first_error
from protocol.motions import EndRecord, JoinRecord, LeaveRecord, ParamsRecord, RotateRecord, UpgradeRecord
from protocol.payments import FundRecord, TopupRecord

MAX_FILE = 256 * 1024
"""Bytes of the largest file that is read: a record of the greatest length, indented for people."""
MAX_RECORD = 20 * 1024
"""Bytes of the longest record that a topic takes."""

Signable = JoinRecord | ParamsRecord | UpgradeRecord | EndRecord | RotateRecord
"""What members sign together."""
Motion = Signable | LeaveRecord | FundRecord | TopupRecord
"""What a file can hold: also what needs no other signature, for somebody else to put on the topic."""
OPS = ("join", "leave", "params", "upgrade", "end", "rotate", "fund", "topup")
_MOTION: TypeAdapter[Motion] = TypeAdapter(Annotated[Motion, Field(discriminator="op")])


class MotionError(Exception):
    """A motion cannot be used; the message says why in one line."""


def parse_motion(raw: bytes) -> Motion:
    """The motion in a file's bytes. Raises MotionError."""
    if len(raw) > MAX_FILE:
        raise MotionError(f"more than the {MAX_FILE} bytes of a motion")
    try:
        outline: Any = from_json(raw)
    except ValueError:
        raise MotionError("not JSON") from None
    if not isinstance(outline, dict) or outline.get("op") not in OPS:
        raise MotionError(f"no motion: its op is none of {', '.join(OPS)}")
    try:
        motion = _MOTION.validate_json(raw)
    except ValidationError as error:
        raise MotionError(f"malformed: {first_error(error)}") from None
    size = len(canonical(motion))
    if size > MAX_RECORD:
        raise MotionError(f"a record of {size} bytes; a topic takes {MAX_RECORD}")
    return motion


def read_motion(path: Path) -> Motion:
    """The motion in a file. Raises MotionError, which names the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise MotionError(f"cannot read {path}: {error.strerror}; name a motion's file") from None
    try:
        return parse_motion(raw)
    except MotionError as error:
        raise MotionError(f"{path}: {error}; ask for the file anew") from None


def write_motion(path: Path, motion: Motion) -> None:
    """Write, or replace, a motion's file. Raises LedgerError."""
    text = json.dumps(motion.model_dump(mode="json"), indent=2, sort_keys=True)
    write_whole(path, f"{text}\n".encode(), "the motion")
