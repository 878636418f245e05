"""Where a running daemon's view is: a file in its data directory, so that `roundabout status` finds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ledger.files import write_whole

FILE = "operator.json"
MAX_FILE = 4096
"""Bytes that are read of it."""


class Address(BaseModel):
    """Whose view is where."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    peer: Annotated[str, StringConstraints(max_length=64)]
    """The daemon's peer id: after a crash another one may listen there."""
    url: Annotated[str, StringConstraints(pattern=r"^http://[^\s/]{1,255}/$")]


@contextmanager
def announced(data: Path, address: Address) -> Iterator[None]:
    """The file, while the view is there. Raises LedgerError when it cannot be written."""
    write_whole(data / FILE, address.model_dump_json().encode() + b"\n", "the address of the operator's view")
    try:
        yield
    finally:
        (data / FILE).unlink(missing_ok=True)


def read_address(data: Path) -> Address | None:
    """What the file says; None where there is none, or none that can be understood."""
    try:
        with (data / FILE).open("rb") as file:
            return Address.model_validate_json(file.read(MAX_FILE))
    except (OSError, ValidationError):
        return None
