"""An in-memory network with the same port: many nodes in one event loop, with faults on demand.

Runs on asyncio and trio. It has no randomness, threads or clock of its own: latency is slept with anyio, and
frames are lost as a caller's predicate says, so that a run under virtual time repeats itself.
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from node.net.frames import encoded
from node.net.inbox import Inbox
from node.net.transport import (
    Blame,
    BlobSource,
    Connected,
    Contact,
    Disconnected,
    FetchFailed,
    Frame,
    Inbound,
)
from node.partial import Partial
from node.pieces import length_of
from protocol.ids import PeerId

Pair = frozenset[PeerId]


def never(sender: PeerId, receiver: PeerId, frame: bytes) -> bool:
    """Lose no frame."""
    return False


class Network:
    """Any number of nodes: two that admit each other are connected, unless they are cut or one dropped the other.

    tasks: where frames with latency are delivered. latency: seconds each frame is under way, 0 for none.
    is_lost: asked once for every frame. queue: frames of one sender that a receiver has unread or under way.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        latency: float = 0.0,
        is_lost: Callable[[PeerId, PeerId, bytes], bool] = never,
        queue: int = 256,
    ) -> None:
        self._latency = latency
        self._is_lost = is_lost
        self._queue = queue
        self._nodes: dict[PeerId, MemoryTransport] = {}
        self._cuts: set[Pair] = set()
        self._connected: dict[Pair, int] = {}
        """By pair, which of all connections ever made theirs is."""
        self._made = 0
        # One task delivers everything, in the order it was sent: several would run in any order trio likes.
        self._put, self._under_way = anyio.create_memory_object_stream[tuple[float, int, Inbox, Frame]](
            math.inf
        )
        if latency:
            tasks.start_soon(self._deliver)

    def join(self, peer: PeerId, blobs: BlobSource) -> "MemoryTransport":
        """A new node, which admits nobody yet; it replaces one of the same id, as after a restart."""
        self.leave(peer)
        node = self._nodes[peer] = MemoryTransport(self, peer, blobs, Inbox(self._queue))
        return node

    def leave(self, peer: PeerId) -> None:
        """Take a node away without a word, as a crash would."""
        for other in self._nodes:
            self._disconnect(peer, other)
        self._nodes.pop(peer, None)

    def cut(self, one: PeerId, other: PeerId) -> None:
        """Break the way between two nodes; frames that are under way are lost."""
        self._cuts.add(frozenset((one, other)))
        self._disconnect(one, other)

    def heal(self, one: PeerId, other: PeerId) -> None:
        """Undo `cut`, and `drop` by either of the two."""
        self._cuts.discard(frozenset((one, other)))
        self._connect(one, other)

    def follow(self, peer: PeerId) -> None:
        """Connect and disconnect a node as those that it admits have changed."""
        for other in self._nodes:
            if self._are_admitted(peer, other):
                self._connect(peer, other)
            else:
                self._disconnect(peer, other)

    def is_connected(self, one: PeerId, other: PeerId) -> bool:
        """Whether two nodes reach each other at present."""
        return frozenset((one, other)) in self._connected

    def blobs_of(self, peer: PeerId) -> BlobSource:
        """What a node serves."""
        return self._nodes[peer].blobs

    def carry(self, sender: PeerId, receiver: PeerId, body: bytes) -> bool:
        """Send a frame from one node to another; False when they are not connected or the queue is full."""
        connection = self._connected.get(frozenset((sender, receiver)))
        if connection is None:
            return False
        inbox = self._nodes[receiver].inbox
        if not inbox.has_reserved(sender):
            return False
        if self._is_lost(sender, receiver, body):
            inbox.give_back(sender)
        elif self._latency:
            due = anyio.current_time() + self._latency
            self._put.send_nowait((due, connection, inbox, Frame(sender, body)))
        else:
            inbox.deliver(Frame(sender, body))
        return True

    async def _deliver(self) -> None:
        async for due, connection, inbox, frame in self._under_way:
            await anyio.sleep_until(due)
            if connection in self._connected.values():
                inbox.deliver(frame)
            else:
                inbox.give_back(frame.peer)

    def _are_admitted(self, one: PeerId, other: PeerId) -> bool:
        return other in self._nodes[one].admitted and one in self._nodes[other].admitted

    def _connect(self, one: PeerId, other: PeerId) -> None:
        pair = frozenset((one, other))
        if pair in self._cuts or pair in self._connected or not pair <= self._nodes.keys():
            return
        if one != other and self._are_admitted(one, other):
            self._made += 1
            self._connected[pair] = self._made
            self._nodes[one].inbox.announce(Connected(other))
            self._nodes[other].inbox.announce(Connected(one))

    def _disconnect(self, one: PeerId, other: PeerId) -> None:
        if self._connected.pop(frozenset((one, other)), None) is not None:
            self._nodes[one].inbox.announce(Disconnected(other))
            self._nodes[other].inbox.announce(Disconnected(one))


class MemoryTransport:
    """One node's end of a Network; a Transport."""

    def __init__(self, network: Network, peer: PeerId, blobs: BlobSource, inbox: Inbox) -> None:
        self.blobs = blobs
        self.inbox = inbox
        self.admitted: frozenset[PeerId] = frozenset()
        self._network = network
        self._peer = peer

    @property
    def peer(self) -> PeerId:
        """This node's own id."""
        return self._peer

    def admit(self, peers: frozenset[PeerId]) -> None:
        """Be connected from now on to exactly those of these peers that admit this node, too."""
        if peers != self.admitted:
            self.admitted = peers
            self._network.follow(self._peer)

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Nodes of a network in memory need no addresses."""

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a peer; False when it is not connected or its queue is full. Never blocks.

        Raises BadFrame unless the frame has 1 to MAX_FRAME bytes.
        """
        encoded(frame)
        return self._network.carry(self._peer, peer, frame)

    def inbound(self) -> AsyncIterator[Inbound]:
        """What arrives, in order of arrival; each peer has a bounded share of the queue."""
        return self.inbox

    async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
        """Copy the pieces that a blob lacks from one source after the other. Raises FetchFailed, OSError."""
        for source in sources:
            try:
                await self._copy(partial, source)
            except FetchFailed as cause:
                blame(source, str(cause))
            if partial.is_complete:
                return
        raise FetchFailed("nobody is left to ask")

    async def _copy(self, partial: Partial, source: PeerId) -> None:
        """All that a source has of a blob. Raises FetchFailed, OSError."""
        if not self._network.is_connected(self._peer, source):
            raise FetchFailed("not connected")
        held = await self._network.blobs_of(source).held(partial.wanted.digest)
        await anyio.lowlevel.checkpoint()
        if held is None or held.pieces is None:
            raise FetchFailed("does not have it")
        if partial.pieces is None:
            if not partial.wanted.accepts(held.pieces.listed):
                raise FetchFailed("sent other bytes than the list of the pieces")
            partial.learn(held.pieces.listed)
        for index in sorted(partial.missing()):
            if held.has(index):
                # No thread: it would make the order of events depend on chance.
                data, expected = held.read(index), length_of(index, partial.size)
                if data is None:
                    raise FetchFailed("does not have it")
                if len(data) != expected:
                    raise FetchFailed(f"offers {len(data)} bytes where {expected} are expected")
                if not partial.write(index, data):
                    raise FetchFailed("sent other bytes than the digest names")
                partial.mark(index)

    def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a peer that misbehaved and refuse it until the network heals the two."""
        self._network.cut(self._peer, peer)

    def contacts(self) -> tuple[Contact, ...]:
        """The way to each admitted peer as it is now, by peer id."""
        return tuple(
            Contact(peer, None, self._network.is_connected(self._peer, peer), None, 0, 0, 0.0)
            for peer in sorted(self.admitted - {self._peer})
        )
