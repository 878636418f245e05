"""One participant's daemon: opens what a node acts with, and runs the driver until it is told to stop."""

import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import structlog

from learners.client import open_learner
from ledger.outbox import Outbox
from node.blobs import Blobs
from node.config import Config
from node.driver import Driver
from node.home import NodeError, held, load_identity
from node.identity import Identity
from node.journal import Journal
from node.means import Means
from node.net.transport import Transport
from node.net.wire import open_wire
from node.networks import account_key, open_account, spend_limit_of
from node.signals import cancel_on_signal
from protocol.ids import Nanoseconds, PeerId
from protocol.state import RunState

log = structlog.get_logger("node.daemon")


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


def addresses(config: Config, identity: Identity, state: RunState) -> dict[PeerId, str]:
    """Where each other member can be reached, as far as we know; the others reach us."""
    known = config.network.peers
    return {m.peer: known.get(m.peer, "") for m in state.roster if m.peer != identity.peer}
