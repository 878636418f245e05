"""How a command ends: 0; 1: what it checked does not hold; 2: it could not run; one line on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

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
    """Turn known errors, also out of a task group, into one line and exit status 2, or 1 for those in `failed`.

    What comes with an error that is not known is a bug of ours, and stays loud.
    """
    try:
        yield
    except Exception as error:
        causes = list(leaves(error))
        if not all(isinstance(cause, known) for cause in causes):
            raise
        refuse(str(causes[0]), FAILED if isinstance(causes[0], failed) else UNUSABLE)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def tell(told: dict[str, Any], as_json: bool) -> None:
    """Print what a command says: its `lines` for people, or all the rest as one JSON object."""
    facts = {name: value for name, value in told.items() if name != "lines"}
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(told["lines"]))
