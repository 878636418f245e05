"""Virtual time: what happens next, and nothing else."""

import heapq
from collections.abc import Callable
from typing import Any

from protocol.ids import SECOND, Nanoseconds

START = Nanoseconds(1_700_000_000 * SECOND)
MILLISECOND = SECOND // 1000

Action = Callable[..., None]


class Scheduler:
    """A heap of actions by virtual time; of those at one time, the first that was asked for comes first."""

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now: int = START
        self._heap: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay: int, action: Action, *arguments: Any) -> None:
        """Do something `delay` nanoseconds from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action, arguments))

    def advance(self) -> bool:
        """Do what is next; False when nothing is left to do."""
        if not self._heap:
            return False
        self.now, _, action, arguments = heapq.heappop(self._heap)
        action(*arguments)
        return True

    def __len__(self) -> int:
        return len(self._heap)
