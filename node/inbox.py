"""One queue for what arrives from all peers, in which each peer has a share of its own."""

import math

import anyio

from node.transport import Inbound
from protocol.ids import PeerId


class Inbox:
    """An async iterator over inbound events; holds at most `share` events of each peer.

    A peer whose share is used up waits in `put`; the others do not notice.
    """

    __slots__ = ("_events", "_places", "_put", "_share")

    def __init__(self, share: int) -> None:
        # Bounded by the shares: places are taken before an event is put.
        self._put, self._events = anyio.create_memory_object_stream[Inbound](math.inf)
        self._places: dict[PeerId, anyio.Semaphore] = {}
        self._share = share

    async def put(self, event: Inbound) -> None:
        """Append an event, waiting for a place in its peer's share."""
        places = self._places.setdefault(event.peer, anyio.Semaphore(self._share))
        await places.acquire()
        self._put.send_nowait(event)

    def __aiter__(self) -> "Inbox":
        return self

    async def __anext__(self) -> Inbound:
        event = await self._events.receive()
        self._places[event.peer].release()
        return event

    def close(self) -> None:
        """Give the queue's ends back; nothing is put or taken afterwards."""
        self._put.close()
        self._events.close()
