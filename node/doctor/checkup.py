"""All that the doctor looks at, in the order in which a daemon needs it."""

import time
from collections.abc import AsyncIterator, Callable

from ledger.mirror import Mirror
from ledger.topic import LedgerError
from node.config import Config, ConfigError
from node.doctor.blobs import examine_blobs
from node.doctor.clock import examine_clock
from node.doctor.directory import examine_directory, examine_room, is_running
from node.doctor.findings import Findings, fine, refused
from node.doctor.keys import examine_account_key, examine_identity
from node.doctor.learner import examine_learner
from node.doctor.ledger import examine_account, examine_membership, examine_nodes, examine_topic
from node.doctor.memory import examine_journal, examine_outbox
from node.doctor.peers import examine_peers
from node.doctor.ports import examine_ports
from node.networks import network_of, spend_limit_of


async def checkup(config: Config, now: Callable[[], int] = time.time_ns) -> AsyncIterator[Findings]:
    """Findings, as they come. now: this machine's clock, in nanoseconds."""
    running = is_running(config.data)
    if running:
        yield (fine("daemon", f"one is running with {config.data}: what it uses is left alone"),)
    else:
        yield (fine("daemon", f"none is running with {config.data}"),)
    identity, said = examine_identity(config)
    yield (said,)
    key, findings = examine_account_key(config, identity)
    yield findings
    yield (examine_directory(config.data),)
    yield (examine_journal(config.data),)
    try:
        limit, network = spend_limit_of(config.ledger), network_of(config.ledger)
    except ConfigError as error:
        yield (refused("ledger", error),)
        return
    yield examine_outbox(config.data, limit, now())
    yield examine_blobs(config.data)
    yield examine_ports(config.network, running)
    state = None
    try:
        async with Mirror(network.mirror_rest) as mirror:
            await mirror.latest()
            yield (fine("ledger", f"the mirror at {mirror.url} answers"),)
            yield (await examine_clock(mirror.url, now),)
            yield await examine_nodes(config.ledger)
            yield await examine_account(mirror, config.ledger.account, key)
            state, findings = await examine_topic(mirror, config.ledger.topic, key)
            yield findings
    except LedgerError as error:
        yield (refused("ledger", error),)
    if state is not None:
        if identity is not None:
            yield (examine_membership(state, identity.peer),)
        yield (examine_room(config.data, state.params.max_blob_bytes),)
        ours = None if identity is None else identity.peer
        yield await examine_peers(state, ours, config.network.peers)
    yield await examine_learner(config.learner, config.data / "learner", state, running)
