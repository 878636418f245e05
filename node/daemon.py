"""One participant's daemon: opens what a node acts with, and runs the driver until it is told to stop."""

import signal
import tempfile
import time
from pathlib import Path

import anyio
import structlog
from learners.client import open_learner

from node.blobs import Blobs
from node.config import Config
from node.driver import Driver, Means
from node.identity import Identity
from node.journal import Journal
from node.wire import Wire, open_wire
from protocol.ids import Nanoseconds
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
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            await _take_part(config, identity, Path(runtime))
            tasks.cancel_scope.cancel()
    log.info("stopped")


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            scope.cancel()
            return


async def _take_part(config: Config, identity: Identity, runtime: Path) -> None:
    learner = config.learner
    blobs = Blobs(config.data / "blobs")
    with Journal.open(config.data / "journal.db") as journal:
        async with (
            open_account(config, identity) as hedera,
            open_learner(
                learner.name, dict(learner.options), data=config.data / "learner", runtime=runtime
            ) as process,
        ):

            def open_transport(state: RunState) -> "AbstractAsyncContextManager[Wire]":
                return open_wire(identity.secret, config.network.listen, addresses(config, state), blobs)

            driver = Driver(
                Means(
                    identity=identity,
                    journal=journal,
                    blobs=blobs,
                    topic_id=config.ledger.topic,
                    topic=hedera.topic(config.ledger.topic),
                    learner=process,
                    open_transport=open_transport,
                    clock=local_clock,
                )
            )
            await driver.run()
