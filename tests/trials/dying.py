"""`roundabout node` that kills itself, like a power cut, at an instant that its first argument names."""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

from ledger.outbox import Outbox
from node.blobs import Blobs
from node.cli.main import main
from node.journal import Journal


def die_at(
    when: Literal["before", "after"], owner: type, name: str, holds: Callable[..., bool] = lambda *_: True
) -> None:
    """Die before a method does anything, or when it has done its work and its caller does not know."""
    original = getattr(owner, name)

    def dying(*arguments: Any) -> Any:
        is_time = holds(*arguments)
        result = None if is_time and when == "before" else original(*arguments)
        if is_time:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def second() -> Callable[..., bool]:
    calls = itertools.count(1)
    return lambda *_: next(calls) == 2


INSTANTS: dict[str, Callable[[], None]] = {
    "a vote is in the journal, and not sent": lambda: die_at(
        "after", Journal, "remember", lambda _, slot, *__: slot == "vote"
    ),
    "a proposal is in the journal, and not sent": lambda: die_at(
        "after", Journal, "remember", lambda _, slot, *__: slot == "turn"
    ),
    "a message has its receipt, and that is not noted": lambda: die_at("before", Outbox, "settle"),
    "a blob was fetched, and has no name": lambda: die_at("before", Blobs, "finish"),
    # The first weights that are kept are the initial ones, at every start.
    "a candidate was trained, and has no name": lambda: die_at("before", Blobs, "keep", second()),
}

if __name__ == "__main__":
    INSTANTS[sys.argv.pop(1)]()
    main(prog_name="roundabout")
