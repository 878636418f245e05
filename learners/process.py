"""The operating system's side of a learner process: its start, its words, its end."""

import logging
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import grpc
from pydantic import ValidationError

from learners import channel
from learners.channel import Fault
from learners.learner import LearnerError

MAX_LINE = 2000
"""Characters of a line of its log that are passed on."""
_LAST_WORDS = 3
_GRACE = 5.0  # seconds from asking a process to end to killing it
# What a process inherits: enough to find its interpreter, packages and home; none of the daemon's secrets.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
THREADS = 1
"""Of a learner's process: several share a machine, and with another number sums are added up in another order."""
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))

_log = logging.getLogger("learners.worker")


class Death(Exception):
    """A process ended by itself; the message has its exit status and last words."""


class Process:
    """One run of `learners.worker`."""

    def __init__(self, popen: subprocess.Popen[bytes], socket: Path) -> None:
        """For `start_process` alone."""
        self._popen = popen
        self._socket = socket
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, name="learner-log", daemon=True)
        self._listener.start()
        # A subchannel of its own: grpcio shares them by address and would keep another's back-off.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", channel.MAX_MESSAGE),
        ]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def wait_ready(self, until: float) -> None:
        """Return when it serves. until: time.monotonic() seconds.

        Raises LearnerError when it refuses or is late, Death when it ended.
        """
        line = self._first_line(until)
        if not line:
            raise Death(self.death())
        try:
            answer = channel.ANSWER.validate_json(line)
        except ValidationError:
            raise LearnerError("the learner's process began with another word; update its package") from None
        if isinstance(answer, Fault):
            raise LearnerError(answer.message)

    def call(self, method: str, body: bytes, deadline: float) -> "grpc.Future[bytes]":
        """Send a request, answered within `deadline` seconds; the answer comes by the future."""
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        unary = self._channel.unary_unary(f"/{channel.SERVICE}/{method}")
        return unary.future(body, timeout=deadline)

    def death(self) -> str:
        """Its exit status and last words, killing it if it lingers."""
        try:
            self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._listener.join(_GRACE)
        status = self._popen.returncode
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{how}; last words: {' | '.join(self._words) or 'none'}"

    def kill(self) -> None:
        """End it now, from any thread; learners write whole files or none, so nothing is lost but time."""
        self._popen.kill()

    def end(self) -> None:
        """End it and give back what it held."""
        self._popen.kill()
        self._popen.wait()
        self._channel.close()
        self._listener.join(_GRACE)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._socket.unlink(missing_ok=True)

    def _first_line(self, until: float) -> bytes:
        """What it says on standard output up to a line's end; empty when it ended first."""
        out, line = self._popen.stdout, b""
        assert out is not None
        poll = select.poll()
        poll.register(out, select.POLLIN)
        while not line.endswith(b"\n"):
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise LearnerError("the learner did not start in time and was ended; allow it more time")
            piece = os.read(out.fileno(), 4096)
            if not piece:
                return b""
            line += piece
            if len(line) > channel.MAX_MESSAGE:
                raise LearnerError("the learner's process began with an endless word; update its package")
        return line

    def _listen(self) -> None:
        """Pass its log on, line by line, so that it never blocks on a full pipe."""
        pipe = self._popen.stderr
        assert pipe is not None
        with pipe:
            while line := pipe.readline(MAX_LINE):
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._words.append(text)
                    _log.info("[%d] %s", self._popen.pid, text)


def start_process(name: str, options: str, data: Path, sockets: Path, env: Mapping[str, str]) -> Process:
    """Start a learner's process; `wait_ready` tells when it serves. sockets: a folder only we may enter."""
    socket = sockets / f"{secrets.token_hex(3)}.sock"
    command = [sys.executable, "-m", "learners.worker", "--socket", str(socket)]
    command += ["--learner", name, "--data", str(data), "--options", options]
    popen = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # never written to: it closes when we are gone, which ends the learner
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={key: os.environ[key] for key in _INHERITED if key in os.environ} | _THREADS | dict(env),
    )
    return Process(popen, socket)
