"""The daemon's end of a learner process: starts it, asks it, starts it again when it died. Imports no torch.

grpc.aio does not run on trio, so grpcio's blocking calls run in a thread; a lock makes them take turns, and
whichever thread holds it owns the process. A limiter of one token would not do: on asyncio a caller that is
cancelled gives its token back at once, while its thread still waits for the answer.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import grpc
from pydantic import ValidationError

from learners import channel
from learners.channel import (
    Adopt,
    Compared,
    Describe,
    Done,
    Fault,
    Initial,
    Merge,
    Merged,
    Propose,
    Request,
    Score,
    Spec,
    Trained,
)
from learners.learner import BadWeights, Comparison, LearnerError, LearnerSpec, Merging, Training
from learners.process import Death, Process, start_process
from protocol.ids import Round

MAX_BACKOFF = 5.0
"""Seconds: the longest wait before a process that keeps dying is started again."""
_FIRST_BACKOFF = 0.1
_MAX_SOCKET_PATH = 80  # the kernel allows 107 bytes, of which a name of ours takes up to 12

_T = TypeVar("_T", Done, Spec, Trained, Merged, Compared)


class _Asking:
    """A request under way; its caller may give it up at any moment, before it is sent, too."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_given_up = False
        self._call: grpc.Future[bytes] | None = None

    def send(self, call: "grpc.Future[bytes]") -> bytes:
        """Its answer. Raises grpc.FutureCancelledError once it is given up."""
        self._call = call
        if self.is_given_up:  # asked after the assignment; else `give_up` sees the call
            call.cancel()
        return call.result()

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.is_given_up = True
        call = self._call
        if call is not None:
            call.cancel()


class LearnerProcess:
    """A learner in its own process; mirrors the port `learners.learner.Learner`.

    Each method takes a deadline in seconds, starting a process included, and raises LearnerError when the
    learner refuses, dies, or is not done by then: a process that is late is killed. The next call starts
    another. A call that is cancelled is abandoned; the process stops early where its learner asks
    (`learners.wanted`), else it finishes, before it answers the next.
    """

    def __init__(self, start: Callable[[], Process]) -> None:
        """For `open_learner` alone."""
        self._start = start
        self._process: Process | None = None
        self._starts = 0  # since the last answer
        self._adopts = True
        self._merges = False
        self._closing = threading.Event()
        self._turn = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process that serves now, if one has been started."""
        return self._process.pid if self._process else None

    async def describe(self, deadline: float = 120.0) -> LearnerSpec:
        """The public spec."""
        spec = await self._ask(Describe(), Spec, deadline)
        self._adopts, self._merges = spec.adopts, spec.merges
        return spec.value()

    @property
    def merges(self) -> bool:
        """Whether the learner can merge updates, as it has described itself."""
        return self._merges

    async def initial(self, out: Path, deadline: float = 120.0) -> None:
        """Write the weights that every run with this spec starts from."""
        await self._ask(Initial(out=_whole(out)), Done, deadline)

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        """Collect data with the head, train from it, and write the candidate. Raises BadWeights too."""
        request = Propose(head=_whole(head), round=round, out=_whole(out))
        return (await self._ask(request, Trained, deadline)).value()

    async def merge(
        self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path, deadline: float
    ) -> Merging:
        """Write one candidate made of our own and the others' updates. Raises BadWeights too."""
        others = tuple(_whole(update) for update in updates)
        request = Merge(head=_whole(head), own=_whole(own), updates=others, round=round, out=_whole(out))
        return (await self._ask(request, Merged, deadline)).value()

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        """Compare two weights on the private validation data. Raises BadWeights too."""
        request = Score(head=_whole(head), candidate=_whole(candidate), round=round)
        return (await self._ask(request, Compared, deadline)).value()

    async def adopt(self, head: Path, round: Round, deadline: float = 120.0) -> None:
        """Tell the learner which weights are the head now, if it described itself as wanting to know.

        Raises BadWeights too.
        """
        if self._adopts:
            await self._ask(Adopt(head=_whole(head), round=round), Done, deadline)

    async def close(self) -> None:
        """End the process. Whoever still waits for an answer gets a LearnerError."""
        self._closing.set()
        if self._process is not None:
            self._process.kill()  # frees a thread that waits for an answer, so that the turn comes to us
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._end_in_turn)

    def _end_in_turn(self) -> None:
        with self._turn:
            self._end()

    async def _ask(self, request: Request, wanted: type[_T], deadline: float) -> _T:
        asking = _Asking(request)
        exchange = partial(self._exchange, asking, deadline)
        try:
            answer = await anyio.to_thread.run_sync(exchange, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            asking.give_up()
            raise
        if isinstance(answer, Fault):
            raise (BadWeights if answer.blames == "bad-weights" else LearnerError)(answer.message)
        if not isinstance(answer, wanted):
            raise LearnerError(
                f"the learner answered {answer.kind!r} to {type(request).__name__}; update its package"
            )
        return answer

    def _exchange(self, asking: _Asking, deadline: float) -> channel.Answer:
        """One request and its answer, in a thread. Raises LearnerError when there is none."""
        with self._turn:
            if asking.is_given_up:
                raise LearnerError("nobody waits for this any more")
            return self._exchange_in_turn(asking, deadline)

    def _exchange_in_turn(self, asking: _Asking, deadline: float) -> channel.Answer:
        method, until = type(asking.request).__name__, time.monotonic() + deadline
        name = method.lower()
        process = self._running(name, until)
        try:
            call = process.call(method, channel.encode(asking.request), max(0.0, until - time.monotonic()))
            answer = channel.ANSWER.validate_json(asking.send(call))
        except grpc.FutureCancelledError:
            raise LearnerError(f"{name} was cancelled") from None
        except grpc.RpcError as error:
            raise LearnerError(self._why(error, process, name, deadline)) from None
        except ValidationError as fault:
            self._end()
            raise LearnerError(
                f"the learner's answer to {name} is malformed: {fault.errors()[0]['msg']}"
            ) from None
        self._starts = 0
        return answer

    def _running(self, name: str, until: float) -> Process:
        """The process that serves, started if need be, after a pause that grows with every start in vain."""
        if self._process is not None and self._process.is_alive():
            return self._process
        self._end()
        if self._starts:
            self._closing.wait(min(MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._starts, 10)))
        self._starts += 1
        self._process = self._start()
        if self._closing.is_set():  # asked after the assignment; else `close` sees the process
            self._end()
            raise LearnerError("the learner was closed")
        try:
            self._process.wait_ready(until)
        except Death as death:
            self._end()
            raise LearnerError(f"the learner's process ended before {name}: {death}") from None
        except LearnerError:
            self._end()
            raise
        return self._process

    def _why(self, error: grpc.RpcError, process: Process, name: str, deadline: float) -> str:
        """One line on why a call had no answer; ends a process that is late or broken."""
        code, details = error.code(), error.details()
        if self._closing.is_set():
            return "the learner was closed"
        if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT):
            return f"the learner failed in {name}: {details}; its log has the rest"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._end()
            return (
                f"the learner did not finish {name} within {deadline:g} s and was ended; allow it more time"
            )
        death = process.death()
        self._end()
        return f"the learner's process died in {name}: {death}"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()


@asynccontextmanager
async def open_learner(
    name: str,
    options: Mapping[str, object],
    data: Path,
    runtime: Path,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[LearnerProcess]:
    """A learner in its own process while the context is open; the process starts with the first call.

    name: as registered, or `package.module:Class`. options: as the learner defines them. data: its private
    folder. runtime: where its socket goes, unless that path is too long for one. env: variables set in the
    process besides the few it inherits.
    """
    with _sockets(runtime) as sockets:
        start = partial(start_process, name, json.dumps(options), _whole(data), sockets, env or {})
        learner = LearnerProcess(start)
        try:
            yield learner
        finally:
            await learner.close()


@contextmanager
def _sockets(runtime: Path) -> Iterator[Path]:
    """A new folder for sockets that only this user may enter."""
    is_short = len(os.fsencode(_whole(runtime))) <= _MAX_SOCKET_PATH
    if is_short:
        runtime.mkdir(parents=True, exist_ok=True)
    parent = _whole(runtime) if is_short else None
    with tempfile.TemporaryDirectory(prefix="rb-", dir=parent) as folder:  # mode 0700
        yield Path(folder)


def _whole(path: Path) -> Path:
    return Path(os.path.abspath(path))  # the process may have another working folder
