"""One participant's daemon: opens what a node acts with, and runs the driver until it is told to stop."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import anyio
import structlog

from learners.client import open_learner
from ledger.outbox import Outbox
from node.blobs import Blobs
from node.config import Config
from node.driver import Driver
from node.identity import Identity, IdentityError, load
from node.journal import Journal
from node.means import Means
from node.net.transport import Transport
from node.net.wire import open_wire
from node.networks import account_key, open_account, spend_limit_of
from node.signals import cancel_on_signal
from protocol.ids import Nanoseconds, PeerId
from protocol.state import RunState

log = structlog.get_logger("node.daemon")


class NodeError(Exception):
    """This machine is not ready for the daemon; the message names cause and remedy."""


def local_clock() -> Nanoseconds:
    """This machine's clock, which stands in for consensus time."""
    return Nanoseconds(time.time_ns())


async def run_node(config: Config) -> None:
    """Take part in a run until SIGTERM or SIGINT. Raises what cannot be mended without the operator."""
    identity = load_identity(config)
    structlog.contextvars.bind_contextvars(peer=identity.peer)
    with held(config.data), tempfile.TemporaryDirectory(prefix="rb-") as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
            await _take_part(config, identity, Path(runtime))
    log.info("stopped")


async def _take_part(config: Config, identity: Identity, runtime: Path) -> None:
    ledger, learner = config.ledger, config.learner
    try:
        blobs = Blobs(config.data / "blobs")
    except OSError as error:
        raise NodeError(f"cannot use {config.data / 'blobs'}: {error.strerror}; check `data`") from None

    def open_transport(state: RunState) -> AbstractAsyncContextManager[Transport]:
        return open_wire(identity.secret, config.network.listen, addresses(config, identity, state), blobs)

    with (
        Journal.open(config.data / "journal.db") as journal,
        Outbox.open(config.data / "outbox.db", spend_limit_of(ledger)) as outbox,
    ):
        async with (
            open_account(ledger, account_key(ledger, identity), outbox) as hedera,
            open_learner(learner.name, learner.options, config.data / "learner", runtime) as process,
        ):
            means = Means(
                identity=identity,
                journal=journal,
                blobs=blobs,
                topic_id=ledger.topic,
                topic=hedera.topic(ledger.topic),
                learner=process,
                open_transport=open_transport,
                clock=local_clock,
            )
            await Driver(means).run()


def load_identity(config: Config) -> Identity:
    """The key file that the configuration names. Raises IdentityError."""
    name = config.identity.passphrase_env
    passphrase = None if name is None else os.environ.get(name)
    if name is not None and not passphrase:
        raise IdentityError(f"the environment variable {name} is empty; set it to the key file's passphrase")
    return load(config.identity.file, passphrase)


def addresses(config: Config, identity: Identity, state: RunState) -> dict[PeerId, str]:
    """Where each other member can be reached, as far as we know; the others reach us."""
    known = config.network.peers
    return {m.peer: known.get(m.peer, "") for m in state.roster if m.peer != identity.peer}


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data directory for this process alone. Raises NodeError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data / "lock").open("w")
    except OSError as error:
        raise NodeError(f"cannot use the data directory {data}: {error.strerror}; check `data`") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(f"another node uses {data}; stop it, or give this one its own `data`") from None
        yield
