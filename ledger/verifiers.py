"""Processes that check signatures, one for each core but ours, and the batches that are in hand.

Where all have enough to do, a batch is checked here: so every core is busy, whichever side is the slower one.
"""

import os
import select
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from ledger.topic import LedgerError
from ledger.verifier import COUNT_BYTES, ROW, check

MAX_PROCESSES = 4
"""One process that reads a history keeps about two busy with its signatures."""
MAX_EACH = 4
"""Batches that a process has in hand at most, the one that it works on included."""
MAX_IN_HAND = 32
"""Batches whose answers have not been taken yet, at most, those that were checked here included."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True)
class Worker:
    """A process, and how many batches it has in hand."""

    process: subprocess.Popen[bytes]
    batches: int = 0


class Verifiers:
    """Processes that take batches, as this one does when they are busy; answers come in order. Used as a context."""

    def __init__(self, processes: int) -> None:
        self._in_hand: deque[tuple[Worker, int] | bytes] = deque()
        """Who has a batch, and its rows; of a batch that was checked here, the answer."""
        # A process of ours finds our packages wherever this one found them.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._workers = [
            Worker(
                subprocess.Popen(
                    [sys.executable, "-m", "ledger.verifier"],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
            )
            for _ in range(max(1, min(processes, MAX_PROCESSES)))
        ]

    def __enter__(self) -> "Verifiers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (worker.process for worker in self._workers):
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what it was still to be told goes with it
                        pipe.close()
            process.wait()

    @property
    def is_full(self) -> bool:
        """Whether an answer must be taken before another batch may be given."""
        return len(self._in_hand) >= MAX_IN_HAND

    @property
    def is_ready(self) -> bool:
        """Whether an answer can be taken without waiting for it."""
        if not self._in_hand:
            return False
        first = self._in_hand[0]
        if isinstance(first, bytes):
            return True
        answers = first[0].process.stdout
        assert answers is not None
        return bool(select.select([answers], [], [], 0)[0])

    def give(self, rows: bytes) -> None:
        """Have rows of ledger.verifier checked. Raises LedgerError when the process is gone."""
        worker = min(self._workers, key=lambda worker: worker.batches)
        if worker.batches >= MAX_EACH:
            self._in_hand.append(check(rows))
            return
        count = len(rows) // ROW
        assert worker.process.stdin is not None
        try:
            _write(worker.process.stdin, count.to_bytes(COUNT_BYTES, "big") + rows)
        except OSError as error:
            raise _gone(worker.process) from error
        worker.batches += 1
        self._in_hand.append((worker, count))

    def answer(self) -> bytes:
        """The answer to the first batch that is in hand, a byte a row. Raises LedgerError."""
        first = self._in_hand.popleft()
        if isinstance(first, bytes):
            return first
        worker, count = first
        assert worker.process.stdout is not None
        answer = _read(worker.process.stdout, count)
        if len(answer) != count:
            raise _gone(worker.process)
        worker.batches -= 1
        return answer


def _write(sink: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[sink.write(left) :]


def _read(source: IO[bytes], count: int) -> bytes:
    """So many bytes, or what there is before the end: nothing is read ahead, so that `select` sees the rest."""
    data = b""
    while len(data) < count and (part := source.read(count - len(data))):
        data += part
    return data


def _gone(process: subprocess.Popen[bytes]) -> LedgerError:
    return LedgerError(f"process {process.pid}, which checked signatures, is gone; run the audit again")
