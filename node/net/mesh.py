"""Control links among all admitted peers, and blobs beside them, over any way to dial (SPEC.md, Three places).

Of two peers each dials that knows the other's address. When both have opened a control stream, the one that the
smaller peer id opened stays, on both sides: the smaller one refuses the other stream, the larger one gives it up.
"""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup

from node.net.control import Limits, Link
from node.net.exchange import Lost, Stream
from node.net.inbox import Inbox
from node.net.swarm import BLOB, Swarm
from node.net.transport import Blame, BlobSource, Connected, Contact, Disconnected, FetchFailed, Inbound
from node.partial import Partial
from protocol.ids import PeerId

__all__ = ["BLOB", "CONTROL", "Channel", "Dialler", "Mesh", "Traffic"]

CONTROL = "/roundabout/control/1"

_SETTLED = 10.0
"""Seconds a control stream must have lived for the next dial to start again at the shortest pause."""

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


class Dialler(Protocol):
    """What the mesh needs of the network below it."""

    @property
    def traffic(self) -> Traffic:
        """What has passed so far."""

    @property
    def peer(self) -> PeerId:
        """This node's own id."""

    @property
    def address(self) -> str:
        """Where it listens."""

    async def dial(self, peer: PeerId, address: str) -> None:
        """Replace whatever connections there are to a peer by a fresh one. Raises Lost."""

    async def open(self, peer: PeerId, protocol: str) -> Channel:
        """A new stream on the connection there is. Raises Lost."""

    async def hang_up(self, peer: PeerId) -> None:
        """Close whatever connections there are to a peer, at once and without asking it."""


class Mesh:
    """This node's end of the network; a Transport.

    addresses: where peers listen (multiaddrs), as far as it is known; of the others it waits to be dialled.
    """

    def __init__(
        self,
        dialler: Dialler,
        addresses: Mapping[PeerId, str],
        blobs: BlobSource,
        limits: Limits,
        tasks: TaskGroup,
    ) -> None:
        self._dialler = dialler
        self._configured = addresses
        self._addresses: Mapping[PeerId, str] = addresses
        self.swarm = Swarm(dialler.peer, dialler, blobs, limits.piece, limits.blob_streams, tasks)
        self._limits = limits
        self._tasks = tasks
        self._inbox = Inbox(limits.share)
        self._admitted: frozenset[PeerId] = frozenset()
        self._dialled: set[PeerId] = set()
        self._opening: set[PeerId] = set()
        """Peers to which a control stream of our own opening is on its way, or up."""
        self._links: dict[PeerId, Link] = {}
        self._talking: defaultdict[PeerId, list[Channel]] = defaultdict(list)
        """Control streams with each peer, those that are not accepted yet among them."""
        self._refused: dict[PeerId, float] = {}

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
        for peer in peers & self._addresses.keys() - self._dialled:
            self._dialled.add(peer)
            self._tasks.start_soon(self._keep_dialling, peer)

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Where peers say that they listen (multiaddrs), beside what is known from elsewhere; all of them each time."""
        said = {peer: known[0] for peer, known in addresses.items() if known}
        self._addresses = said | dict(self._configured)

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
        if peer not in self._admitted:
            return
        log.warning("refusing %s for %g s: %s", peer, self._limits.refusal, reason)
        self._refused[peer] = anyio.current_time() + self._limits.refusal
        self._cut_off(peer, reason)

    def contacts(self) -> tuple[Contact, ...]:
        """The way to each admitted peer as it is now, by peer id."""
        now = anyio.current_time()
        return tuple(
            Contact(
                peer=peer,
                address=self._addresses.get(peer),
                is_connected=peer in self._links,
                latency=None,
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
        for source in sources:
            if source not in self._links:
                blame(source, "not connected")
        if not connected:
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

    async def _keep_dialling(self, peer: PeerId) -> None:
        # The smaller peer id goes first: two that dial at once hinder each other.
        lag = 0.0 if self.peer < peer else self._limits.retry
        pause = self._limits.retry
        is_news = True
        await anyio.sleep(lag)
        while peer in self._admitted:
            started = anyio.current_time()
            if link := self._links.get(peer):
                await link.gone.wait()
            elif self.is_welcome(peer) and not self._talking[peer]:
                try:
                    await self._dial(peer)
                    is_news = True
                except Lost as lost:
                    level = logging.INFO if is_news and not self._talking[peer] else logging.DEBUG
                    log.log(level, "cannot reach %s, and go on trying: %s", peer, lost)
                    is_news = False
            if anyio.current_time() - started > _SETTLED:
                pause = self._limits.retry
            await anyio.sleep(lag + pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, self._limits.retry_most)
        self._dialled.discard(peer)

    async def _dial(self, peer: PeerId) -> None:
        """Connect, and talk until the end. Raises Lost."""
        await self._dialler.dial(peer, self._addresses[peer])
        if others := self._talking[peer]:
            await others[0].keep_alone()
            raise Lost("it dialled us meanwhile")
        self._opening.add(peer)
        try:
            await self._converse(await self._dialler.open(peer, CONTROL), self.peer, anyio.Event())
        finally:
            self._opening.discard(peer)

    async def _converse(self, channel: Channel, opener: PeerId, ended: anyio.Event) -> None:
        """Be connected: greet, announce it, carry frames, announce the end."""
        link = Link(channel.peer, channel, self._limits, opener)
        self._talking[link.peer].append(channel)
        try:
            await link.greet()
            await self._replace(link)
            # Both sides have come to the same stream: what is left of a second dial must not carry blobs.
            await channel.keep_alone()
            await self._inbox.put(Connected(link.peer))
            log.info("connected to %s", link.peer)
            await link.run(self._inbox)
            del self._links[link.peer]
            self.swarm.on_gone(link.peer)
            await self._close(channel)
            log.info("disconnected from %s: %s", link.peer, link.reason)
            if link.has_misbehaved:
                self.drop(link.peer, link.reason)
            await self._inbox.put(Disconnected(link.peer))
        except Lost as lost:
            log.debug("%s did not come to talk: %s", link.peer, lost)
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
