"""Who is dialled when, and where: every admitted peer that is not connected, again and again (docs/network.md)."""

import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from node.net.addresses import PER_SOURCE, AddressBook, Source
from node.net.control import Limits, Link
from node.net.exchange import Lost
from node.net.frames import Budget
from node.net.names import resolved
from node.net.pace import Pace
from protocol.ids import PeerId

Addresses = Mapping[PeerId, str | tuple[str, ...]]
"""One address of each peer (a multiaddr), or several."""

_STRANGERS = 256
"""Peers who were seen on the local network and are not admitted: they may be, later."""

log = logging.getLogger(__name__)


class Dialler(Protocol):
    """What dials."""

    @property
    def peer(self) -> PeerId:
        """This node's own id."""

    async def dial(self, peer: PeerId, address: str) -> None:
        """Replace whatever connections there are to a peer by a fresh one. Raises Lost."""


class Conversations(Protocol):
    """Whom this node talks to."""

    def link_to(self, peer: PeerId) -> Link | None:
        """The control stream to a peer, if there is one."""

    def is_to_be_dialled(self, peer: PeerId) -> bool:
        """Whether a peer is welcome, and neither connected nor about to be."""

    async def talk(self, peer: PeerId) -> None:
        """Open a control stream on a connection that was just dialled, and talk until the end."""


class Dialling:
    """Keeps dialling every admitted peer of which an address is known; the others are waited for.

    configured: where the operator says that peers listen; it is read when a peer is admitted.
    book: where they are found otherwise.
    """

    def __init__(
        self,
        dialler: Dialler,
        conversations: Conversations,
        configured: Addresses,
        book: AddressBook,
        limits: Limits,
        tasks: TaskGroup,
    ) -> None:
        self.book = book
        self._dialler = dialler
        self._conversations = conversations
        self._configured = configured
        self._limits = limits
        self._tasks = tasks
        self._admitted: frozenset[PeerId] = frozenset()
        self._paces: dict[PeerId, Pace] = {}
        """Of the peers that are dialled, or would be if an address were known."""
        self._together = Budget(limits.dials, 4 * limits.dials, anyio.current_time())
        self._reached: dict[PeerId, str] = {}
        """Where peers answered that we dialled and talk with."""
        self._sighted: dict[PeerId, tuple[str, ...]] = {}
        """Where strangers were seen, the latest last."""

    def admit(self, peers: frozenset[PeerId]) -> None:
        """From now on dial these peers and no others."""
        changed, self._admitted = self._admitted ^ peers, peers
        self.book.keep_only(peers)
        for peer in peers:
            said = self._configured.get(peer, ())
            self.book.tell(peer, Source.CONFIGURED, (said,) if isinstance(said, str) else said)
            if peer in self._sighted:
                self.book.tell(peer, Source.LAN, self._sighted.pop(peer))
        for peer in changed:
            if peer in self._paces:
                self._paces[peer].on_news()
            else:
                # The smaller peer id goes first: two that dial at once hinder each other.
                lag = 0.0 if self._dialler.peer < peer else self._limits.retry
                self._paces[peer] = Pace(self._limits, self._together, lag)
                self._tasks.start_soon(self._keep_dialling, peer)

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Where peers say on the topic that they listen; all of them each time."""
        for peer in (addresses.keys() | self._admitted) - {self._dialler.peer}:
            if self.book.tell(peer, Source.ANNOUNCED, addresses.get(peer, ())):
                self.on_sign_of_life(peer)

    def on_sighting(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Somebody who says to be this peer was seen on the local network, and may just have come up."""
        self._sighted.pop(peer, None)
        if peer in self._admitted:
            self.book.tell(peer, Source.LAN, addresses)
            self.on_sign_of_life(peer)
        elif peer != self._dialler.peer:
            self._sighted[peer] = tuple(islice(addresses, PER_SOURCE))
            for oldest in list(self._sighted)[:-_STRANGERS]:
                del self._sighted[oldest]

    def on_sign_of_life(self, peer: PeerId) -> None:
        """Something says that a peer may be reached now."""
        if peer in self._paces:
            self._paces[peer].on_news()

    def address_of(self, peer: PeerId) -> str | None:
        """Where a peer was reached, or is dialled next; None when no address is known."""
        return self._reached.get(peer) or next(iter(self.book.turn(peer)), None)

    async def _keep_dialling(self, peer: PeerId) -> None:
        pace = self._paces[peer]
        await pace.begin()
        while peer in self._admitted:
            if link := self._conversations.link_to(peer):
                started = anyio.current_time()
                await link.gone.wait()
                pace.on_parting(anyio.current_time() - started)
            elif not (addresses := self.book.turn(peer)):
                await pace.news()
                continue
            else:
                await self._try_each(peer, addresses, pace)
            await pace.pause()
        del self._paces[peer]

    async def _try_each(self, peer: PeerId, addresses: Iterable[str], pace: Pace) -> None:
        """Dial a peer at one address after the other until it answers, and talk with it until the end."""
        for address in addresses:
            if not self._conversations.is_to_be_dialled(peer):
                return
            await pace.turn()
            if not self._conversations.is_to_be_dialled(peer):
                return
            try:
                await self._dial(peer, address)
            except Lost as lost:
                level = logging.INFO if self.book.on_failure(peer, address) else logging.DEBUG
                log.log(level, "cannot reach %s at %s, and go on trying: %s", peer, address, lost)
                continue
            self.book.on_answer(peer, address)
            self._reached[peer] = address
            started = anyio.current_time()
            try:
                await self._conversations.talk(peer)
            finally:
                del self._reached[peer]
            pace.on_parting(anyio.current_time() - started)
            return

    async def _dial(self, peer: PeerId, address: str) -> None:
        """Connect to a peer at one address, or at one of those that its name stands for. Raises Lost."""
        lost = Lost("the name stands for no address that may be dialled")
        for place in await resolved(address, self._limits.dial):
            if place == address or self.book.is_ours_to_dial(peer, address, place):
                try:
                    return await self._dialler.dial(peer, place)
                except Lost as cause:
                    lost = cause
        raise lost
