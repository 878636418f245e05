"""Work that nobody waits for any more can stop early: a learner asks in its long loops."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class GivenUp(Exception):
    """Whoever asked has given up: the answer is not wanted."""


def check_wanted() -> None:
    """Go on, if somebody still waits for what is being done. Raises GivenUp, which a learner lets pass."""
    if not _is_wanted.get()():
        raise GivenUp("nobody waits for this any more")


@contextmanager
def wanted_while(is_wanted: Callable[[], bool]) -> Iterator[None]:
    """Within this context work is wanted as long as `is_wanted()` holds."""
    token = _is_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_wanted.reset(token)


def _always() -> bool:
    return True


_is_wanted: ContextVar[Callable[[], bool]] = ContextVar("is_wanted", default=_always)
