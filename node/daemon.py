"""One participant's daemon: opens what a node acts with, and runs the driver until it is told to stop."""

import gc
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import structlog

from learners.client import open_learner
from ledger.keys import SigningKey, signing_key
from ledger.lookup import MirrorTransfers
from ledger.outbox import Outbox
from ledger.treasury import Treasury
from node.blobs import Blobs
from node.config import Config
from node.console.board import Board
from node.console.opening import OperatorView, open_view
from node.driver import Driver
from node.history import FOLDER, BlobHistory
from node.home import NodeError, held, load_identity
from node.identity import Identity
from node.journal import Journal
from node.means import Means
from node.net.addresses import AddressBook, Finder, Memory, own_scopes
from node.net.remembered import Remembered
from node.net.transport import Transport
from node.net.wire.host import open_wire
from node.networks import account_key, open_account, spend_limit_of
from node.provenance import provenance_of
from node.signals import cancel_on_signal
from protocol.ids import Nanoseconds

log = structlog.get_logger("node.daemon")


def local_clock() -> Nanoseconds:
    """This machine's clock, which stands in for consensus time."""
    return Nanoseconds(time.time_ns())


async def run_node(config: Config) -> None:
    """Take part in a run until SIGTERM or SIGINT, or until we have left it.

    Raises what cannot be mended without the operator.
    """
    identity = load_identity(config)
    board = Board(identity.peer, config.ledger.account, config.ledger.topic, local_clock)
    structlog.contextvars.bind_contextvars(peer=identity.peer, round=lambda: board.round)
    with (
        held(config.data),
        tempfile.TemporaryDirectory(prefix="rb-") as runtime,
        open_view(config.operator, config.data, identity.peer, board) as view,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
            tasks.start_soon(view.serve)
            await _take_part(config, identity, Path(runtime), view)
            tasks.cancel_scope.cancel()
    log.info("stopped")


async def _take_part(config: Config, identity: Identity, runtime: Path, view: OperatorView) -> None:
    ledger, learner = config.ledger, config.learner
    try:
        blobs = Blobs(config.data / "blobs", config.blobs.quota * 1024 * 1024)
    except OSError as error:
        raise NodeError(f"cannot use {config.data / 'blobs'}: {error.strerror}; check `data`") from None
    history = open_history(config, identity)

    with (
        Remembered.open(config.data / "addresses.db") as remembered,
        Journal.open(config.data / "journal.db") as journal,
        Outbox.open(config.data / "outbox.db", spend_limit_of(ledger)) as outbox,
    ):
        key = account_key(ledger, identity)
        async with (
            open_account(ledger, key, outbox) as hedera,
            open_learner(learner.name, learner.options, config.data / "learner", runtime) as process,
        ):

            def open_transport() -> AbstractAsyncContextManager[Transport]:
                return open_network(config, identity, blobs, remembered)

            means = Means(
                identity=identity,
                journal=journal,
                blobs=blobs,
                topic_id=ledger.topic,
                topic=hedera.topic(ledger.topic),
                account=hedera.account,
                transfers=MirrorTransfers(hedera.mirror),
                treasury=Treasury(hedera, member_key(identity, key)),
                learner=process,
                open_transport=open_transport,
                clock=local_clock,
                observer=view.observer,
                history=history,
                announced=config.network.announce,
            )
            # What was loaded by now stays, and need not be looked through again and again.
            gc.collect()
            gc.freeze()
            await Driver(means).run()


def open_history(config: Config, identity: Identity) -> BlobHistory | None:
    """Where the weights of past rounds are kept, if the configuration wants that. Raises HistoryError, NodeError."""
    if not config.blobs.keep_history:
        return None
    folder, quota = config.data / FOLDER, config.blobs.history_quota * 1024 * 1024
    provenance = provenance_of(config.learner)
    try:
        return BlobHistory(folder, quota, config.ledger.topic, identity.peer, provenance)
    except OSError as error:
        raise NodeError(f"cannot use {folder}: {error.strerror}; check `data`") from None


def open_network(
    config: Config, identity: Identity, blobs: Blobs, memory: Memory
) -> AbstractAsyncContextManager[Transport]:
    """Open the network, with every source of addresses that the configuration names."""
    network = config.network
    finders: list[Finder] = []
    if network.mdns:
        from node.net.lan import Lan

        finders.append(Lan())
    book = AddressBook(own_scopes((network.listen, *(network.announce or ()))), memory)
    return open_wire(identity.secret, network.listen, network.peers, blobs, book=book, finders=finders)


def member_key(identity: Identity, key: bytes) -> SigningKey | None:
    """The key that signs for the treasury, where the account that pays has another."""
    return None if key == identity.secret else signing_key(identity.secret)
