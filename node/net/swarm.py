"""Fetching a blob from several peers at once, and serving what is here of blobs, over any way to open streams."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from node.net.exchange import Desk, Kind, Lost, NotHere, Stream, list_bytes
from node.net.lane import Lane
from node.net.schedule import Ask, Schedule
from node.net.transport import Blame, BlobSource, FetchFailed
from node.partial import Partial
from node.pieces import indices_in, length_of, off_loop
from protocol.ids import PeerId
from protocol.messages import PIECE_BYTES

BLOB = "/roundabout/blob/2"
"""The protocol's name; version 1 sent whole blobs, one a stream."""

_WAITING = 8
"""Pieces that wait for the disk."""
_HEAD_START = 0.5
"""Seconds that a source has to tell the list of the pieces before the next one is asked, too."""

OpenLane = Callable[[PeerId], Lane]


class Closable(Stream, Protocol):
    """A stream to a peer, as it is served."""

    @property
    def peer(self) -> PeerId:
        """Who is at the other end."""

    async def finish(self) -> None:
        """Say that nothing more will be sent; what was sent still arrives. Raises Lost."""

    async def reset(self) -> None:
        """Give the stream up, both ways; the connection stays."""


class Opener(Protocol):
    """What opens streams."""

    async def open(self, peer: PeerId, protocol: str) -> Closable:
        """A new stream on the connection there is. Raises Lost."""


class Pull:
    """One blob being fetched."""

    def __init__(
        self, me: PeerId, partial: Partial, sources: tuple[PeerId, ...], lane: OpenLane, blame: Blame
    ) -> None:
        self._partial = partial
        self._wanted = partial.wanted
        self._sources = sources
        self._lane = lane
        self._blame = blame
        self._me = me
        self._stirred = anyio.Event()
        self._put, self._come = anyio.create_memory_object_stream[tuple[PeerId, int, bytes | bytearray]](
            _WAITING
        )

    async def run(self, stall: float) -> None:
        """Until all pieces are here. Raises FetchFailed when nobody is left, or nothing came for `stall` seconds."""
        if self._wanted.count == 1:
            return await self._take_whole()
        if self._partial.pieces is None:
            await self._learn()
        schedule = self._schedule = Schedule(
            self._me, self._sources, self._wanted.count, self._partial.missing(), anyio.current_time()
        )
        for liar in self._partial.liars:
            schedule.on_gone(PeerId(liar))
        async with anyio.create_task_group() as keeping:
            keeping.start_soon(self._keep)
            async with anyio.create_task_group() as asking:
                await self._ask_around(schedule, asking, stall)
                asking.cancel_scope.cancel()
            self._put.close()  # what has come is kept, whatever became of the rest
        if not schedule.is_done:
            raise FetchFailed(
                "nobody is left to ask" if schedule.is_hopeless else f"nothing came for {stall:g} s"
            )
        return None

    async def _ask_around(self, schedule: Schedule, asking: TaskGroup, stall: float) -> None:
        """Until all pieces are here, nobody is left to ask, or nothing came for too long."""
        while not schedule.is_done and not schedule.is_hopeless:
            now = anyio.current_time()
            last = schedule.last_arrival + stall
            if now >= last:
                return
            self._stirred = anyio.Event()
            for ask in schedule.next(now):
                asking.start_soon(self._ask, ask)
            due = schedule.wake(now)
            with anyio.move_on_after((last if due is None else min(due, last)) - now):
                await self._stirred.wait()

    async def _take_whole(self) -> None:
        """A blob of one piece, from one source after the other. Raises FetchFailed."""
        size = self._wanted.size
        for source in self._sources:
            try:
                data = await self._lane(source).ask(Kind.PIECE, self._wanted.digest, 0, PIECE_BYTES, size)
            except (Lost, NotHere, FetchFailed) as cause:
                self._blame(source, str(cause))
                continue
            if await off_loop(size, self._partial.write, 0, data):
                return self._partial.mark(0)
            self._lie(source, "sent other bytes than the digest names")
        raise FetchFailed("nobody is left to ask")

    async def _learn(self) -> None:
        """Have the list of the pieces from whoever tells it first. Raises FetchFailed."""
        async with anyio.create_task_group() as tasks:
            for place, source in enumerate(self._sources):
                tasks.start_soon(self._learn_from, source, place * _HEAD_START, tasks.cancel_scope)
        if self._partial.pieces is None:
            raise FetchFailed("nobody told its pieces")

    async def _learn_from(self, source: PeerId, pause: float, known: anyio.CancelScope) -> None:
        with anyio.move_on_after(pause):
            await self._stirred.wait()  # a source before this one has failed
        expected = list_bytes(self._wanted.count)
        try:
            listed = await self._lane(source).ask(Kind.LIST, self._wanted.digest, 0, expected, expected)
        except NotHere:
            pass  # it may be about to fetch it, as we are
        except (Lost, FetchFailed) as cause:
            self._blame(source, str(cause))
        else:
            if not self._wanted.accepts(bytes(listed)):
                self._lie(source, "sent other bytes than the list of the pieces")
            elif self._partial.pieces is None:
                await anyio.to_thread.run_sync(self._partial.learn, bytes(listed))
                known.cancel()
        self._stirred.set()

    async def _ask(self, ask: Ask) -> None:
        source, index, wanted = ask.source, ask.index, self._wanted
        lane, count = self._lane(source), wanted.count
        try:
            if index is None:
                size = (count + 7) // 8
                bits = await lane.ask(Kind.HAVE, wanted.digest, ask.known, size, size)
                self._schedule.on_has(source, indices_in(bytes(bits), count), anyio.current_time())
            else:
                length = length_of(index, wanted.size)
                data = await lane.ask(Kind.PIECE, wanted.digest, index, PIECE_BYTES, length)
                await self._put.send((source, index, data))
        except NotHere:
            self._schedule.on_refused(source, index)
        except (Lost, FetchFailed) as cause:
            self._blame(source, str(cause))
            self._schedule.on_gone(source)
        self._stirred.set()

    async def _keep(self) -> None:
        async for source, index, data in self._come:
            if await anyio.to_thread.run_sync(self._partial.write, index, data):
                self._partial.mark(index)
                self._schedule.on_piece(source, index, anyio.current_time())
            else:
                self._lie(source, "sent other bytes than the digest names")
                self._schedule.on_gone(source)
            self._stirred.set()

    def _lie(self, source: PeerId, cause: str) -> None:
        self._partial.liars.add(source)
        self._blame(source, cause)


class Swarm:
    """The lanes to all peers, and what is served to them."""

    def __init__(
        self, me: PeerId, opener: Opener, blobs: BlobSource, stall: float, most: int, tasks: TaskGroup
    ) -> None:
        """stall: seconds that the next part of an answer may take. most: streams that are served to one peer."""
        self.blobs = blobs
        self._me = me
        self._opener = opener
        self._stall = stall
        self._most = most
        self._tasks = tasks
        self._lanes: dict[PeerId, Lane] = {}
        self._serving: Counter[PeerId] = Counter()

    async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
        """Get the missing pieces from connected peers. Raises FetchFailed."""
        await Pull(self._me, partial, sources, self._lane, blame).run(self._stall)

    async def serve(self, channel: Closable) -> None:
        """Answer what a peer asks on a stream that it opened. Raises Lost, and whatever the blob source raises."""
        peer = channel.peer
        if self._serving[peer] >= self._most:
            return await channel.reset()
        self._serving[peer] += 1
        try:
            await Desk(channel, self.blobs, self._stall).serve()
            await channel.finish()
        finally:
            self._serving -= Counter([peer])
        return None

    def on_gone(self, peer: PeerId) -> None:
        """A peer is not connected any more."""
        if lane := self._lanes.pop(peer, None):
            lane.end("disconnected")

    def _lane(self, peer: PeerId) -> Lane:
        lane = self._lanes.get(peer)
        if lane is None or lane.is_lost:
            lane = self._lanes[peer] = Lane(self._stall)
            self._tasks.start_soon(self._drive, peer, lane)
        return lane

    async def _drive(self, peer: PeerId, lane: Lane) -> None:
        try:
            channel = await self._opener.open(peer, BLOB)
        except Lost as lost:
            lane.end(str(lost))
            return
        try:
            await lane.run(channel)
        finally:
            await channel.reset()
