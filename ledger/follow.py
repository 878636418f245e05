"""Following a topic: verified pages from REST; the mirror's gRPC stream only says when to look again."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress

import anyio
from anyio import from_thread, lowlevel

from ledger.chunks import History
from ledger.mirror import Mirror
from ledger.topic import HistoryBroken, LedgerError, TopicMessage
from protocol.ids import TopicId

POLL_SECONDS = 2.0
"""How often to look without news, while the mirror's stream is up."""
BARE_POLL_SECONDS = 0.5
"""How often to look where there is no stream."""

DEAF = 2
"""News found without a ring, in a row, after which the stream counts as dead: a network that was cut tells nobody."""

_LAG_SECONDS = 0.25
_LONGEST_PAUSE = 8.0

_log = logging.getLogger(__name__)

Subscribe = Callable[[Callable[[], None], Callable[[], None]], Callable[[], None]]
"""Takes what to call on news and what to call at the end, both from a thread; returns the way to stop."""


class Bell:
    """Rung from a foreign thread, waited for in the event loop; a ring too many or too few does no harm."""

    def __init__(self, subscribe: Subscribe) -> None:
        self._subscribe = subscribe
        self._token = lowlevel.current_token()
        self._rung = anyio.Event()
        self._stop: Callable[[], None] | None = None
        self._ended = False

    def listen(self) -> None:
        """Forget earlier rings, and subscribe again where the subscription ended."""
        self._rung = anyio.Event()
        if self._ended:
            self.stop()
        if self._stop is None:
            self._ended = False
            self._stop = self._subscribe(self._on_news, self._on_end)

    def renew(self) -> None:
        """Have the next `listen` subscribe again, whatever the subscription says of itself."""
        self._ended = True

    async def wait(self, seconds: float) -> bool:
        """Whether it rang since `listen`, after at most this long."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        return self._rung.is_set()

    def stop(self) -> None:
        """End the subscription."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _on_news(self) -> None:
        # One ring is enough until somebody listens again; each costs a trip into the event loop.
        if self._rung.is_set():
            return
        with suppress(anyio.RunFinishedError):
            from_thread.run_sync(self._ring, token=self._token)

    def _on_end(self) -> None:
        self._ended = True

    def _ring(self) -> None:
        self._rung.set()


async def follow(
    mirror: Mirror, topic: TopicId, subscribe: Subscribe | None = None, history: History | None = None
) -> AsyncIterator[TopicMessage | None]:
    """Every message of a topic, without end; None once, when all that was there at the start has been read.

    Read from the first message, or from where a history of the topic stands, which then moves along: after each
    message, its `position` is one to go on from. Only a whole chain can be verified, so that history must
    have been. Raises HistoryBroken.
    """
    if history is None:
        history = History(topic)
    bell = Bell(subscribe) if subscribe is not None else None
    poll = BARE_POLL_SECONDS if bell is None else POLL_SECONDS
    pause, away, woken, is_current, unrung = 0.0, False, False, False, 0
    try:
        while True:
            if bell is not None:
                bell.listen()
            before = history.sequence
            try:
                async with aclosing(mirror.messages(topic, history.sequence)) as entries:
                    async for entry in entries:
                        for result in history.add(entry):
                            if isinstance(result, TopicMessage):
                                yield result
            except HistoryBroken:
                raise
            except LedgerError as error:
                if not away:
                    _log.warning(
                        "topic %s is out of reach, and tried again until it is back: %s", topic, error
                    )
                away, pause = True, min(2 * pause, _LONGEST_PAUSE) if away else _LAG_SECONDS
            else:
                if away:
                    _log.info("topic %s is within reach again", topic)
                unrung = unrung + 1 if is_current and history.sequence > before and not woken else 0
                if bell is not None and (away or unrung >= DEAF):
                    bell.renew()
                    unrung = 0
                away = False
                if not is_current:
                    is_current = True
                    yield None
                # The stream may be ahead of REST by a moment.
                pause = _LAG_SECONDS if woken and history.sequence == before else poll
            if bell is None:
                await anyio.sleep(pause)
            else:
                woken = await bell.wait(pause)
    finally:
        if bell is not None:
            bell.stop()
