"""What belongs to one node on this machine: its key, and a data directory that one process holds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.config import Config
from node.identity import Identity, IdentityError, load

NODE_REMEDY = "stop it, or give this one its own `data`"


class NodeError(Exception):
    """This machine is not ready; the message names the cause and the remedy."""


def load_identity(config: Config) -> Identity:
    """The key file that the configuration names. Raises IdentityError."""
    name = config.identity.passphrase_env
    passphrase = None if name is None else os.environ.get(name)
    if name is not None and not passphrase:
        raise IdentityError(f"the environment variable {name} is empty; set it to the key file's passphrase")
    return load(config.identity.file, passphrase)


@contextmanager
def held(data: Path, holder: str = "node", remedy: str = NODE_REMEDY) -> Iterator[None]:
    """Hold a directory for this process alone, or say who else may hold it. Raises NodeError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data / "lock").open("w")
    except OSError as error:
        raise NodeError(f"cannot use the data directory {data}: {error.strerror}; check `data`") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(f"another {holder} uses {data}; {remedy}") from None
        yield
