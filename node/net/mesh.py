"""Control links among all admitted peers, and blobs beside them, over any way to dial (SPEC.md, Three places).

Of two peers each dials that knows an address of the other (docs/network.md). When both have opened a control stream,
the one that the smaller peer id opened stays, on both sides: the smaller one refuses the other stream, the larger one
gives it up.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup

from node.net.addresses import AddressBook
from node.net.control import Limits, Link
from node.net.dialling import Addresses, Dialler, Dialling
from node.net.exchange import Lost, Stream
from node.net.frames import Budget
from node.net.inbox import Inbox
from node.net.swarm import BLOB, Swarm
from node.net.transport import Blame, BlobSource, Connected, Contact, Disconnected, FetchFailed, Inbound
from node.partial import Partial
from protocol.ids import PeerId

__all__ = ["BLOB", "CONTROL", "Channel", "Mesh", "Traffic", "Wiring"]

CONTROL = "/roundabout/control/1"

_ARRIVALS = 150
"""Seconds' worth of connections that a member may open at once; each is told of in the log."""

log = logging.getLogger(__name__)


class Channel(Stream, Protocol):
    """One stream of a connection to a peer whose identity is proven."""

    @property
    def peer(self) -> PeerId:
        """Who is at the other end."""

    async def finish(self) -> None:
        """Say that nothing more will be sent; what was sent still arrives. Raises Lost."""

    async def reset(self) -> None:
        """Give the stream up, both ways; the connection stays."""

    def is_beside(self, other: Self) -> bool:
        """Whether both are streams of the same connection."""

    async def keep_alone(self) -> None:
        """Close the peer's other connections, at once and without asking the peer."""

    async def abort(self) -> None:
        """Close the connection under the stream, at once and without asking the peer."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of streams by peer, since this node started."""

    received: Counter[PeerId] = field(default_factory=Counter)
    sent: Counter[PeerId] = field(default_factory=Counter)


class Wiring(Dialler, Protocol):
    """What the mesh needs of the network below it."""

    @property
    def traffic(self) -> Traffic:
        """What has passed so far."""

    @property
    def address(self) -> str:
        """Where it listens."""

    async def open(self, peer: PeerId, protocol: str) -> Channel:
        """A new stream on the connection there is. Raises Lost."""

    async def hang_up(self, peer: PeerId) -> None:
        """Close whatever connections there are to a peer, at once and without asking it."""


class Mesh:
    """This node's end of the network; a Transport.

    addresses: where the operator says that peers listen; it is read when a peer is admitted. book: where they are
    found otherwise. A peer of which no address is known is waited for.
    """

    def __init__(
        self,
        dialler: Wiring,
        addresses: Addresses,
        blobs: BlobSource,
        limits: Limits,
        tasks: TaskGroup,
        book: AddressBook | None = None,
    ) -> None:
        self._dialler = dialler
        self.swarm = Swarm(dialler.peer, dialler, blobs, limits.piece, limits.blob_streams, tasks)
        self._limits = limits
        self._tasks = tasks
        self._dialling = Dialling(dialler, self, addresses, book or AddressBook(), limits, tasks)
        self._inbox = Inbox(limits.share, self.is_welcome)
        self._admitted: frozenset[PeerId] = frozenset()
        self._opening: set[PeerId] = set()
        """Peers to which a control stream of our own opening is on its way, or up."""
        self._links: dict[PeerId, Link] = {}
        self._talking: defaultdict[PeerId, list[Channel]] = defaultdict(list)
        """Control streams with each peer, those that are not accepted yet among them."""
        self._refused: dict[PeerId, float] = {}
        self._arrivals: dict[PeerId, Budget] = {}

    @property
    def peer(self) -> PeerId:
        """This node's own id."""
        return self._dialler.peer

    @property
    def address(self) -> str:
        """The multiaddr it listens on, with the real port."""
        return self._dialler.address

    def admit(self, peers: frozenset[PeerId]) -> None:
        """From now on exactly these peers may connect, be dialled, send and fetch; all others are cut off."""
        peers -= {self.peer}
        if peers == self._admitted:
            return
        gone, self._admitted = self._admitted - peers, peers
        for peer in gone:
            self._cut_off(peer, "is not admitted any more")
        self._dialling.admit(peers)

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Where peers say that they listen (multiaddrs), beside what is known from elsewhere; all of them each time."""
        self._dialling.locate(addresses)

    def on_sighting(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Somebody who says to be this peer was seen on the local network."""
        self._dialling.on_sighting(peer, addresses)

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a peer; False when it is not connected or its queue is full. Never blocks.

        Raises BadFrame unless the frame has 1 to MAX_FRAME bytes.
        """
        link = self._links.get(peer)
        return link is not None and link.send(frame)

    def inbound(self) -> AsyncIterator[Inbound]:
        """What arrives, in order of arrival; each peer has a bounded share of the queue."""
        return self._inbox

    def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a peer that misbehaved and refuse it for a while."""
        if not self.is_welcome(peer):  # what it had sent before may still be found wanting, and is told once
            return
        log.warning("refusing %s for %g s: %s", peer, self._limits.refusal, reason, extra={"remote": peer})
        self._refused[peer] = anyio.current_time() + self._limits.refusal
        self._cut_off(peer, reason)

    def contacts(self) -> tuple[Contact, ...]:
        """The way to each admitted peer as it is now, by peer id."""
        now = anyio.current_time()
        return tuple(
            Contact(
                peer=peer,
                address=self._dialling.address_of(peer),
                is_connected=peer in self._links,
                latency=self._links[peer].latency if peer in self._links else None,
                received=self._dialler.traffic.received[peer],
                sent=self._dialler.traffic.sent[peer],
                refused_for=max(0.0, self._refused.get(peer, 0.0) - now),
            )
            for peer in sorted(self._admitted)
        )

    def _cut_off(self, peer: PeerId, reason: str) -> None:
        if link := self._links.get(peer):
            link.end(reason)
        # There may be streams without a link: blobs, and a control stream that is not accepted yet.
        self._tasks.start_soon(self._dialler.hang_up, peer)

    async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
        """Get all pieces that a blob lacks from the sources that are connected. Raises FetchFailed, OSError."""
        connected = tuple(source for source in sources if source in self._links)
        if not connected:
            for source in sources:
                blame(source, "not connected")
            raise FetchFailed("no source is connected")
        await self.swarm.fetch(partial, connected, blame)

    async def on_blob(self, channel: Channel) -> None:
        """Serve blobs on a stream that a peer opened. Raises Lost, and whatever the blob source raises."""
        if not self.is_welcome(channel.peer):
            return await channel.abort()
        return await self.swarm.serve(channel)

    async def on_control(self, channel: Channel) -> None:
        """Talk on a control stream that an admitted peer opened, unless one of our own has precedence."""
        peer = channel.peer
        if not self.is_welcome(peer):
            return await channel.abort()
        if self.peer < peer and peer in self._opening:
            return await channel.reset()
        ended = anyio.Event()
        # A task of ours, so that the end is told even when the network below cancels its handlers.
        self._tasks.start_soon(self._converse, channel, peer, ended)
        return await ended.wait()

    def on_collapse(self, cause: str) -> None:
        """The network below died, and every connection with it."""
        for link in self._links.values():
            link.end(cause)

    def is_welcome(self, peer: PeerId) -> bool:
        """Whether a peer is admitted and not refused at present."""
        return peer in self._admitted and self._refused.get(peer, 0.0) <= anyio.current_time()

    def may_arrive(self, peer: PeerId) -> bool:
        """Whether a peer that has connected is welcome, and does not come too often; to be asked once each time."""
        if not self.is_welcome(peer):
            return False
        rate, now = self._limits.arrivals, anyio.current_time()
        budget = self._arrivals.get(peer)
        if budget is None:
            budget = self._arrivals[peer] = Budget(rate, _ARRIVALS * rate, now)
        return budget.take(1, now)

    def link_to(self, peer: PeerId) -> Link | None:
        """The control stream to a peer, if there is one."""
        return self._links.get(peer)

    def is_to_be_dialled(self, peer: PeerId) -> bool:
        """Whether a peer is welcome, and neither connected nor about to be."""
        return self.is_welcome(peer) and peer not in self._links and not self._talking[peer]

    async def talk(self, peer: PeerId) -> None:
        """Open a control stream on a connection that was just dialled, and talk until the end."""
        if others := self._talking[peer]:
            return await others[0].keep_alone()  # It dialled us meanwhile.
        self._opening.add(peer)
        try:
            await self._converse(await self._dialler.open(peer, CONTROL), self.peer, anyio.Event())
        except Lost as lost:
            log.debug("%s does not talk: %s", peer, lost, extra={"remote": peer})
        finally:
            self._opening.discard(peer)

    async def _converse(self, channel: Channel, opener: PeerId, ended: anyio.Event) -> None:
        """Be connected: greet, announce it, carry frames, announce the end."""
        link = Link(channel.peer, channel, self._limits, opener)
        self._talking[link.peer].append(channel)
        try:
            await link.greet()
            await self._replace(link)
            if opener != self.peer:
                self._dialling.on_sign_of_life(opener)
            # Both sides have come to the same stream: what is left of a second dial must not carry blobs.
            await channel.keep_alone()
            await self._inbox.put(Connected(link.peer))
            log.info("connected to %s", link.peer, extra={"remote": link.peer})
            await link.run(self._inbox)
            del self._links[link.peer]
            self.swarm.on_gone(link.peer)
            await self._close(channel)
            log.info("disconnected from %s: %s", link.peer, link.reason, extra={"remote": link.peer})
            if link.has_misbehaved:
                self.drop(link.peer, link.reason)
            await self._inbox.put(Disconnected(link.peer))
        except Lost as lost:
            log.debug("%s did not come to talk: %s", link.peer, lost, extra={"remote": link.peer})
        finally:
            link.gone.set()
            ended.set()
            await self._close(channel)
            self._talking[link.peer].remove(channel)

    async def _close(self, channel: Channel) -> None:
        """End a control stream, and the connection under it unless another control stream needs that."""
        if any(other is not channel and channel.is_beside(other) for other in self._talking[channel.peer]):
            await channel.reset()
        else:
            await channel.abort()

    async def _replace(self, link: Link) -> None:
        """Make this the peer's link. Raises Lost when another has precedence, or the peer is not welcome."""
        while older := self._links.get(link.peer):
            if older.opener < link.opener:
                raise Lost("the smaller peer id has opened a stream, too")
            older.end("replaced by a newer stream")
            await older.gone.wait()
        if self.peer < link.peer == link.opener and link.peer in self._opening:
            raise Lost("our own stream has precedence")
        if not self.is_welcome(link.peer):
            raise Lost("is refused")
        self._links[link.peer] = link
