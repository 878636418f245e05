"""From the topic to the driver's queue: messages in order, with the transfers they name (SPEC.md, transfers)."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from ledger.lookup import Transfers, found_for
from ledger.topic import LedgerError, Topic, TopicMessage
from protocol.fold import names_transfer
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import Transfer
from protocol.view import CaughtUp, Recorded

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0

log = structlog.get_logger("node.reader")


async def read_topic(
    topic: Topic,
    transfers: Transfers,
    send: Callable[[Recorded | CaughtUp, TopicMessage | None], Awaitable[None]],
    current: Callable[[], Awaitable[RunState | None]],
) -> None:
    """Hand over every message of a topic as an event, beside it as it came, for ever. Raises HistoryBroken.

    current: the state once all that was handed over before is folded in.
    """
    async for message in topic.follow():
        if message is None:
            await send(CaughtUp(), None)
            continue
        stamp = message.stamp
        found: tuple[Transfer, ...] = ()
        if names_transfer(message.body):
            found = await find(transfers, await current(), message.body, stamp)
        await send(Recorded(message.body, stamp, found), message)


async def find(
    transfers: Transfers, state: RunState | None, raw: bytes, stamp: Stamp
) -> tuple[Transfer, ...]:
    """The transfers that a message names; what comes after it waits while the mirror is away."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await found_for(transfers, state, raw, stamp)
        except LedgerError as error:
            log.warning("a transfer cannot be looked up yet", sequence=stamp.sequence, reason=str(error))
        await anyio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
