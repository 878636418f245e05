"""How a command ends: 0; 1: what it checked does not hold; 2: it could not run; one line on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130
"""What shells say of a command that Ctrl-C ended."""


def refuse(reason: str, status: int = UNUSABLE) -> NoReturn:
    """Say why in one line, and exit."""
    click.echo(f"roundabout: {' '.join(reason.split())}", err=True)
    sys.exit(status)


@contextmanager
def one_line(
    *known: type[Exception], failed: type[Exception] | tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn known errors, also out of a task group, into one line and exit status 2, or 1 for those in `failed`."""
    try:
        yield
    except Exception as error:
        for cause in leaves(error):
            if isinstance(cause, known):
                refuse(str(cause), FAILED if isinstance(cause, failed) else UNUSABLE)
        raise


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
