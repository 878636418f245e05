"""One queue for what arrives from all peers, in which each peer has a share of its own."""

import math
from collections.abc import Callable

import anyio

from node.net.transport import Frame, Inbound
from protocol.ids import PeerId


class Inbox:
    """An async iterator over inbound events; holds at most `share` events of each peer.

    A peer whose share is used up waits in `put`, or is refused by `has_reserved`; the others do not notice.
    Frames of a peer that is not `wanted` any more are passed over.
    """

    __slots__ = ("_events", "_places", "_put", "_share", "_wanted")

    def __init__(self, share: int, wanted: Callable[[PeerId], bool] = lambda _: True) -> None:
        self._wanted = wanted
        # Bounded by the shares: a place is taken before an event is put.
        self._put, self._events = anyio.create_memory_object_stream[tuple[Inbound, bool]](math.inf)
        self._places: dict[PeerId, anyio.Semaphore] = {}
        self._share = share

    async def put(self, event: Inbound) -> None:
        """Append an event, waiting for a place in its peer's share."""
        await self._share_of(event.peer).acquire()
        self.deliver(event)

    def has_reserved(self, peer: PeerId) -> bool:
        """Take a place in a peer's share for an event to come; False when there is none."""
        try:
            self._share_of(peer).acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True

    def deliver(self, event: Inbound) -> None:
        """Append the event for which a place is reserved."""
        self._put.send_nowait((event, True))

    def give_back(self, peer: PeerId) -> None:
        """Return a place that was reserved for an event that does not come."""
        self._share_of(peer).release()

    def announce(self, event: Inbound) -> None:
        """Append an event that takes no place, because somebody else bounds how often it happens."""
        self._put.send_nowait((event, False))

    def __aiter__(self) -> "Inbox":
        return self

    async def __anext__(self) -> Inbound:
        while True:
            event, has_place = await self._events.receive()
            if has_place:
                self.give_back(event.peer)
            if not isinstance(event, Frame) or self._wanted(event.peer):
                return event

    def _share_of(self, peer: PeerId) -> anyio.Semaphore:
        places = self._places.get(peer)
        if places is None:
            places = self._places[peer] = anyio.Semaphore(self._share, max_value=self._share)
        return places
