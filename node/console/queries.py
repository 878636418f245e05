"""What a request may ask for: query parameters, bounded, each at most once, closed to unknown ones."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from node.console.history import MAX_ROUNDS
from protocol.fields import MAX_INTEGER
from protocol.messages import first_error

DEFAULT_ROUNDS = 100


class BadQuery(Exception):
    """A query that cannot be answered; the message is one line that names the parameter."""


class NoQuery(BaseModel):
    """No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RoundsQuery(NoQuery):
    """Which rounds."""

    start: Annotated[int | None, Field(ge=0, le=MAX_INTEGER, alias="from")] = None
    """The first round; without it, the last rounds are given."""
    limit: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = DEFAULT_ROUNDS
    """How many rounds at most."""


Query = TypeVar("Query", bound=NoQuery)


def parse_query(kind: type[Query], given: QueryParams) -> Query:
    """The parameters of a request. Raises BadQuery."""
    items = given.multi_items()
    names = [name for name, _ in items]
    if len(set(names)) != len(names):
        raise BadQuery("a parameter is given twice")
    for name, value in items:
        if not (value.isascii() and value.isdigit() and len(value) <= 16):
            raise BadQuery(
                f"{''.join(c if c.isprintable() else '?' for c in name[:40])}: expected an integer"
            )
    try:
        return kind.model_validate(dict(items))
    except ValidationError as error:
        raise BadQuery(first_error(error)) from None
