"""A localnet as a child process that tests may kill, and start again on the same directory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.localnet.description import Description, read_description
from ledger.localnet.errors import LocalnetError

STOP_S = 10.0
"""How long a stopped child may take to end."""


@dataclass(frozen=True, slots=True)
class LocalnetProcess:
    """A child that serves."""

    description: Description
    child: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it like a power cut does, and wait until it is gone."""
        self.child.kill()
        self.child.wait(STOP_S)


@contextmanager
def running_localnet(directory: Path, *options: str) -> Iterator[LocalnetProcess]:
    """Start a localnet on free ports, wait until it serves, and stop it at the end.

    options: further ones of its command line. Raises LocalnetError.
    """
    command = [sys.executable, "-m", "ledger.localnet", "--dir", str(directory), "--any-port", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            if not child.stdout.readline():
                raise LocalnetError(f"the localnet in {directory} did not start: its own message is above")
            yield LocalnetProcess(read_description(directory), child)
        finally:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
