"""Processes that check signatures, one a core, and the batches that they have in hand."""

import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from types import TracebackType

from ledger.topic import LedgerError
from ledger.verifier import COUNT_BYTES, ROW

MAX_PROCESSES = 4
"""One process that reads a history keeps about two busy with its signatures."""
MAX_IN_HAND = 4
"""Batches that a process has in hand at most, the one that it works on included."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Verifiers:
    """Processes that take batches in turn and answer them in order; used as a context."""

    def __init__(self, processes: int) -> None:
        self._in_hand: deque[tuple[subprocess.Popen[bytes], int]] = deque()
        # A process of ours finds our packages wherever this one found them.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "ledger.verifier"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            for _ in range(max(1, min(processes, MAX_PROCESSES)))
        ]
        self._given = 0

    def __enter__(self) -> "Verifiers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what it was still to be told goes with it
                        pipe.close()
            process.wait()

    @property
    def is_full(self) -> bool:
        """Whether an answer must be taken before another batch may be given."""
        return len(self._in_hand) >= MAX_IN_HAND * len(self._processes)

    def give(self, rows: bytes) -> None:
        """Have rows of ledger.verifier checked. Raises LedgerError when the process is gone."""
        process = self._processes[self._given % len(self._processes)]
        self._given += 1
        count = len(rows) // ROW
        self._in_hand.append((process, count))
        assert process.stdin is not None
        try:
            process.stdin.write(count.to_bytes(COUNT_BYTES, "big") + rows)
            process.stdin.flush()
        except OSError as error:
            raise _gone(process) from error

    def answer(self) -> bytes:
        """The answer to the first batch that is in hand, a byte a row. Raises LedgerError."""
        process, count = self._in_hand.popleft()
        assert process.stdout is not None
        answer = process.stdout.read(count)
        if len(answer) != count:
            raise _gone(process)
        return answer


def _gone(process: subprocess.Popen[bytes]) -> LedgerError:
    return LedgerError(f"process {process.pid}, which checked signatures, is gone; run the audit again")
