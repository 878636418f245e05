"""One Hedera network of our own, as a process, for the tests that need a real one."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.hedera import Network
from protocol.ids import AccountId

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Localnet:
    """A running network and the account that has all its money."""

    network: Network
    operator: AccountId
    key: str


@contextmanager
def running_localnet(folder: Path) -> Iterator[Localnet]:
    """A network that runs for as long as the context, with its files in a folder."""
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ledger.localnet", "--dir", str(folder), "--any-port"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _described(process, folder)
        finally:
            process.terminate()
            process.wait(10)


def _described(process: subprocess.Popen[bytes], folder: Path) -> Localnet:
    """What the process wrote about itself once it listens; bounded, since it may never do so."""
    deadline = time.monotonic() + 60
    while True:
        try:
            told = json.loads((folder / "localnet.json").read_text())
            break
        except (FileNotFoundError, json.JSONDecodeError):
            output = (folder / "output.txt").read_text()
            assert process.poll() is None, f"the network ended: {output}"
            assert time.monotonic() < deadline, f"the network did not start: {output}"
            time.sleep(0.05)
    network = Network("localnet", told["nodes"], told["mirror_rest"], told["mirror_grpc"])
    return Localnet(network, AccountId(told["operator_account"]), told["operator_key"])
