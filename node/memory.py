"""An in-memory network with the same port: many nodes in one event loop, with faults on demand.

Runs on asyncio and trio. It has no randomness, threads or clock of its own: latency is slept with anyio, and frames
are lost as a caller's predicate says, so that a run under virtual time repeats exactly.
"""

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from node.frames import encoded
from node.inbox import Inbox
from node.transport import BlobSource, Connected, Disconnected, FetchFailed, Frame, Inbound
from protocol.ids import Digest, PeerId, digest_of


def never(sender: PeerId, receiver: PeerId, frame: bytes) -> bool:
    """Lose no frame."""
    return False


class Way:
    """One direction between two nodes: what is under way, in order, and whether the way is open."""

    def __init__(self, latency: float, queue: int) -> None:
        self.is_open = False
        self._latency = latency
        self._room = queue
        self._opened = 0
        # Frames are bounded by `room`; the rest is one event for each time the way is opened or closed.
        self._put, self._events = anyio.create_memory_object_stream[tuple[float, int, Inbox, Inbound]](
            math.inf
        )

    def turn(self, is_open: bool, inbox: Inbox, event: Inbound) -> None:
        """Open or close the way and tell the receiver; frames that are under way are lost."""
        self.is_open = is_open
        self._opened += 1
        self._put.send_nowait((0.0, self._opened, inbox, event))

    def has_taken(self, inbox: Inbox, frame: Frame) -> bool:
        """Send a frame; False when the way is closed or full."""
        if not self.is_open or not self._room:
            return False
        self._room -= 1
        due = anyio.current_time() + self._latency if self._latency else 0.0
        self._put.send_nowait((due, self._opened, inbox, frame))
        return True

    async def run(self) -> None:
        """Deliver, for ever."""
        async for due, opened, inbox, event in self._events:
            if due:
                await anyio.sleep_until(due)
            if isinstance(event, Frame):
                self._room += 1
                if opened != self._opened:
                    continue
            await inbox.put(event)


class Network:
    """Any number of nodes that reach each other unless they are cut, or one has dropped the other.

    tasks: where deliveries run. latency: seconds a frame is under way. is_lost: asked once for every frame.
    queue: frames under way between two nodes, and events of one peer in an inbox.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        latency: float = 0.0,
        is_lost: Callable[[PeerId, PeerId, bytes], bool] = never,
        queue: int = 256,
    ) -> None:
        self._tasks = tasks
        self._latency = latency
        self._is_lost = is_lost
        self._queue = queue
        self._nodes: dict[PeerId, MemoryTransport] = {}
        self._ways: dict[tuple[PeerId, PeerId], Way] = {}
        self._cuts: set[frozenset[PeerId]] = set()

    def join(self, peer: PeerId, blobs: BlobSource) -> "MemoryTransport":
        """A new node, connected to all the others; it replaces one of the same id, as after a restart."""
        self.leave(peer)
        node = self._nodes[peer] = MemoryTransport(self, peer, blobs, Inbox(self._queue))
        for other in self._nodes:
            self._connect(peer, other)
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

    def carry(self, sender: PeerId, receiver: PeerId, frame: bytes) -> bool:
        """Send a frame from one node to another; False when there is no way, or it is full."""
        way = self._ways.get((sender, receiver))
        if way is None or not way.is_open:
            return False
        if self._is_lost(sender, receiver, frame):
            return True
        return way.has_taken(self._nodes[receiver].inbox, Frame(sender, frame))

    def path_of(self, asker: PeerId, peer: PeerId, digest: Digest) -> Path | None:
        """The file of a blob at a peer. Raises FetchFailed when the asker is not connected to it."""
        way = self._ways.get((peer, asker))
        if way is None or not way.is_open:
            raise FetchFailed("not connected")
        return self._nodes[peer].blobs.path_of(digest)

    def _connect(self, one: PeerId, other: PeerId) -> None:
        if one == other or frozenset((one, other)) in self._cuts or not {one, other} <= self._nodes.keys():
            return
        for sender, receiver in ((one, other), (other, one)):
            way = self._ways.get((sender, receiver))
            if way is None:
                way = self._ways[sender, receiver] = Way(self._latency, self._queue)
                self._tasks.start_soon(way.run)
            if not way.is_open:
                way.turn(True, self._nodes[receiver].inbox, Connected(sender))

    def _disconnect(self, one: PeerId, other: PeerId) -> None:
        for sender, receiver in ((one, other), (other, one)):
            way = self._ways.get((sender, receiver))
            if way is not None and way.is_open:
                way.turn(False, self._nodes[receiver].inbox, Disconnected(sender))


class MemoryTransport:
    """One node's end of a Network; a Transport."""

    def __init__(self, network: Network, peer: PeerId, blobs: BlobSource, inbox: Inbox) -> None:
        self.blobs = blobs
        self.inbox = inbox
        self._network = network
        self._peer = peer

    @property
    def peer(self) -> PeerId:
        """This node's own id."""
        return self._peer

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a peer; False when it is not connected or its queue is full. Never blocks.

        Raises BadFrame unless the frame has 1 to MAX_FRAME bytes.
        """
        encoded(frame)
        return self._network.carry(self._peer, peer, frame)

    def inbound(self) -> AsyncIterator[Inbound]:
        """What arrives, in order of arrival; each peer has a bounded share of the queue."""
        return self.inbox

    async def fetch(self, peer: PeerId, digest: Digest, size: int, out: Path) -> None:
        """Copy a blob of exactly `size` bytes from a peer and check its digest. Raises FetchFailed."""
        try:
            path = self._network.path_of(self._peer, peer, digest)
            if path is None:
                raise FetchFailed("does not have it")
            # No thread: it would make the order of events depend on chance.
            data = path.read_bytes()
            if len(data) != size:
                raise FetchFailed(f"offers {len(data)} bytes where {size} are expected")
            if digest_of(data) != digest:
                raise FetchFailed("sent other bytes than the digest names")
            out.write_bytes(data)
            await anyio.lowlevel.checkpoint()
        except FetchFailed as failed:
            raise FetchFailed(f"{peer}: {failed}") from failed

    def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a peer that misbehaved and refuse it until the network heals the two."""
        self._network.cut(self._peer, peer)
