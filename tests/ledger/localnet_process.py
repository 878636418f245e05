"""One Hedera network of our own, as a child process that tests may kill, and start again on its directory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.hedera import Network
from ledger.localnet.description import Description, read_description
from ledger.localnet.errors import LocalnetError
from protocol.ids import AccountId

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 10.0
"""How long a stopped child may take to end."""


@dataclass(frozen=True, slots=True)
class Localnet:
    """A child that serves."""

    description: Description
    child: "subprocess.Popen[bytes]"

    @property
    def network(self) -> Network:
        """Where it is, as our ledger client takes it."""
        told = self.description
        return Network(told.network, told.nodes, told.mirror_rest, told.mirror_grpc)

    @property
    def operator(self) -> AccountId:
        """The account that has all its money."""
        return AccountId(self.description.operator_account)

    @property
    def key(self) -> str:
        """The operator's private key, DER in hex."""
        return self.description.operator_key

    def kill(self) -> None:
        """End it like a power cut does, and wait until it is gone."""
        self.child.kill()
        self.child.wait(STOP_S)


@contextmanager
def running_localnet(directory: Path, *options: str) -> Iterator[Localnet]:
    """Start a localnet on free ports, wait until it serves, and stop it at the end.

    options: further ones of its command line. Raises LocalnetError.
    """
    command = [sys.executable, "-m", "ledger.localnet", "--dir", str(directory), "--any-port", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            # It says one line once it serves, and none when it cannot; pytest-timeout bounds the wait.
            if not child.stdout.readline():
                raise LocalnetError(f"the localnet in {directory} did not start: its own message is above")
            yield Localnet(read_description(directory), child)
        finally:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
