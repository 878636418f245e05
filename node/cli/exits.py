"""How a command ends: 0, 1 what it checked does not hold, 2 it could not be run; one line on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

FAILED = 1
UNUSABLE = 2


def refuse(reason: str, status: int = UNUSABLE) -> NoReturn:
    """Say why in one line, and exit."""
    click.echo(f"roundabout: {' '.join(reason.split())}", err=True)
    sys.exit(status)


@contextmanager
def one_line(*known: type[Exception]) -> Iterator[None]:
    """Turn the known errors, also out of a task group, into one line and exit status 2."""
    try:
        yield
    except* known as group:
        refuse(str(first_of(group)))


def first_of(error: BaseException) -> BaseException:
    """The first error inside of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
