"""The shell around a core: feeds it events, runs what it asks for, and owns every task and bound (SPEC.md, step).

    topic.follow() ----> Recorded -.
    transport.inbound() > Received -+--> [event queue] --> core --> commands --> tasks --> events again
    timer -------------> Tick ----'

Written against anyio: on trio in production, on asyncio with the in-memory transport in tests.
"""

from typing import assert_never

import anyio
import structlog
from anyio.abc import TaskGroup

from learners.learner import LearnerSpec
from ledger.topic import TopicMessage
from node.admission import check_honour, check_learner, check_run, has_left
from node.core import Admit, Command, Core, Drop, Task, Write, received, signed
from node.cosigner import see_through
from node.fetching import fetch, remove
from node.history import keep_proposed
from node.home import NodeError
from node.journal import JournalFull
from node.keeping import kept, with_head
from node.learning import Learning
from node.means import Means
from node.net.transport import Connected, Disconnected, Frame, Transport
from node.reader import read_topic
from node.reports import open_number, report
from node.submissions import Submissions
from protocol.bodies import Body, kind_of
from protocol.errors import Ignore, ProtocolError
from protocol.fields import canonical
from protocol.ids import Digest, Nanoseconds, PeerId
from protocol.state import RunState
from protocol.view import (
    Adopt,
    CaughtUp,
    Cosign,
    Event,
    Fetch,
    Fetched,
    FetchingFailed,
    Listening,
    Merge,
    Merged,
    PeerUp,
    Recorded,
    Score,
    Send,
    Sign,
    Signed,
    Tick,
    Train,
    Trained,
    View,
)

MAX_EVENTS = 1024
"""Events that wait for the core; beyond that their producers wait."""

log = structlog.get_logger("node.driver")


class _Barrier:
    """In the queue between events: all before it have been taken in once it is reached."""

    def __init__(self) -> None:
        self.reached = anyio.Event()


class Driver:
    """One node: its core, its event queue, and the tasks that its commands started."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.core = Core(means.identity.peer, means.topic_id, means.account, means.observer)
        self._inbox, self._outbox = anyio.create_memory_object_stream[Event | _Barrier](MAX_EVENTS)
        self._alarm: Nanoseconds | None = None
        self._rearmed = anyio.Event()
        self._submissions = Submissions(means.topic)
        self._learning = Learning(means, self.core, self._inbox.send)
        self._transport: Transport | None = None
        self._heads: tuple[Digest, ...] = ()

    @property
    def view(self) -> View:
        """What the node knows."""
        return self.core.view

    async def run(self) -> None:
        """Take part until cancelled. Raises RunError, and HistoryBroken when the topic does not chain."""
        spec = await self._prepare()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._timer)
            tasks.start_soon(self._loop, tasks, spec)
            await read_topic(self.means.topic, self.means.transfers, self._on_message, self._current)

    async def _on_message(self, event: Recorded | CaughtUp, message: TopicMessage | None) -> None:
        if message is not None:
            self.core.copies.on_read(message.sequence, message.payer, message.body)
        await self._inbox.send(event)

    async def _current(self) -> RunState | None:
        """The state once everything that is in the queue now has been folded in."""
        barrier = _Barrier()
        await self._inbox.send(barrier)
        await barrier.reached.wait()
        return self.view.state

    async def _prepare(self) -> LearnerSpec:
        """Make the initial weights at home: every member has the same ones."""
        spec = await self.means.learner.describe()
        try:
            out = self.means.blobs.new_temp()
            await self.means.learner.initial(out)
            digest = await anyio.to_thread.run_sync(self.means.blobs.keep, out)
        except OSError as error:
            raise NodeError(f"cannot keep the initial weights: {error.strerror}; free the disk") from error
        self.core.take(Fetched(digest), self.means.clock())
        return spec

    # ---- events ----

    async def _loop(self, tasks: TaskGroup, spec: LearnerSpec) -> None:
        async for event in self._outbox:
            if isinstance(event, _Barrier):
                event.reached.set()
                continue
            if isinstance(event, CaughtUp):
                tasks.start_soon(self._network, check_run(self.means, self.view.state, spec))
            before = self.view.state
            outcome = self.core.take(event, self.means.clock())
            if isinstance(event, Trained | Merged):
                self.means.blobs.release(event.candidate)
            self._note(event, outcome.fault)
            for command in outcome.commands:
                self._start(tasks, command)
            if outcome.fault is not None:
                continue
            self._rearm()
            state = self.view.state
            if state is not before and state is not None:
                self._tidy(tasks)
                report(before, state, self.view.live)
                if before is not None and self.view.live and not self._belongs(before, state, spec):
                    tasks.cancel_scope.cancel()

    def _note(self, event: Event, fault: ProtocolError | None) -> None:
        if isinstance(fault, Ignore):
            log.debug("ignored", input=type(event).__name__, reason=str(fault))
        elif fault is not None and isinstance(event, Recorded):
            log.warning("invalid record", sequence=event.stamp.sequence, reason=str(fault))

    def _start(self, tasks: TaskGroup, command: Command) -> None:
        match command:
            case Admit():
                self._admit(command)
            case Drop():
                self._drop(command)
            case Send():
                self._send(command)
            case Write():
                tasks.start_soon(self._submissions.submit, command.record, command.key)
            case _:
                if isinstance(command, Train | Merge | Score):
                    self._learning.give_up()
                tasks.start_soon(self._perform, command)

    async def _network(self, state: RunState) -> None:
        """Once the topic has been read, talk to the other members."""
        log.info("taking part", run=state.run, place=self.view.place, round=open_number(state))
        async with self.means.open_transport() as transport:
            self._transport = transport
            self.means.observer.on_network(transport.contacts)
            self._admit(self.core.admission)
            if self.means.announced is not None:
                await self._inbox.send(Listening(self.means.announced))
            async for item in transport.inbound():
                match item:
                    case Frame(peer, body):
                        await self._on_frame(peer, body)
                    case Connected(peer):
                        self._on_peer(item, "connected")
                        await self._inbox.send(PeerUp(peer))
                    case Disconnected():
                        self._on_peer(item, "disconnected")

    def _on_peer(self, item: Connected | Disconnected, said: str) -> None:
        log.info(said, remote=item.peer)
        self.means.observer.on_peer(item, self.means.clock())

    def _belongs(self, before: RunState, state: RunState, spec: LearnerSpec) -> bool:
        """Whether there is still something for us to do in the run. Raises RunError when we do not fit it any more."""
        if state.params is not before.params:
            check_learner(state, spec, self.means.learner.merges)
        check_honour(state, self.view.peer)
        if has_left(state, self.view.peer):
            log.info("left the run: nothing is left to do here")
            return False
        return True

    def _admit(self, admit: Admit | None) -> None:
        if self._transport is not None and admit is not None:
            self._transport.locate(dict(admit.addresses))
            self._transport.admit(admit.peers)

    def _drop(self, drop: Drop) -> None:
        log.warning("invalid message", remote=drop.peer, reason=drop.reason)
        if self._transport is not None:
            self._transport.drop(drop.peer, drop.reason)

    async def _on_frame(self, peer: PeerId, body: bytes) -> None:
        heard = received(peer, body)
        if isinstance(heard, Drop):
            self._drop(heard)
        else:
            await self._inbox.send(heard)

    # ---- time ----

    def _rearm(self) -> None:
        if self.core.due != self._alarm:
            self._alarm = self.core.due
            self._rearmed.set()

    async def _timer(self) -> None:
        while True:
            self._rearmed, due = anyio.Event(), self._alarm
            if due is None:
                await self._rearmed.wait()
                continue
            wait = max(0, due - self.means.clock()) / 1e9
            with anyio.move_on_after(wait):
                await self._rearmed.wait()
                continue
            self._alarm = None  # so that the same time arms it again
            await self._inbox.send(Tick())

    # ---- effects ----

    async def _perform(self, effect: Task) -> None:
        match effect:
            case Train() | Merge() | Score():
                await self._learning.turn(effect)
            case Fetch():
                await self._fetch(effect)
            case Sign():
                await self._speak(effect.body)
            case Adopt():
                await self._learning.adopt(effect)
            case Cosign():
                await self._cosign(effect)
            case _:
                assert_never(effect)

    async def _fetch(self, effect: Fetch) -> None:
        is_here = await fetch(effect, self.means.blobs, self._transport)
        await self._inbox.send(Fetched(effect.digest) if is_here else FetchingFailed(effect.digest))

    def _tidy(self, tasks: TaskGroup) -> None:
        """Forget the blobs that nobody will ask for again."""
        self._heads = with_head(self._heads, self.view)
        if self.view.live:
            tasks.start_soon(remove, self.means.blobs.doomed(kept(self.view, self._heads)))

    async def _cosign(self, effect: Cosign) -> None:
        treasury, clock = self.means.treasury, self.means.clock
        await self._inbox.send(await see_through(treasury, effect.number, effect.payout, clock))

    async def _speak(self, body: Body) -> None:
        """Sign, or be silent in this round: a disk that is full may have room in the next."""
        try:
            await keep_proposed(self.means.history, self.means.blobs, body)
            await self._inbox.send(await anyio.to_thread.run_sync(self._sign, body))
        except JournalFull as error:
            log.error("cannot sign", kind=kind_of(body), round=body.round, reason=str(error))

    def _sign(self, body: Body) -> Signed:
        """Into the journal before anybody hears of it: after a crash a round gets the same words, or none."""
        event, is_new = signed(body, self.means.identity.secret, self.means.journal)
        if not is_new:
            log.warning("already signed", kind=kind_of(body), round=body.round)
        return event

    def _send(self, effect: Send) -> None:
        if self._transport is None:
            return
        frame = canonical(effect.message)
        for peer in effect.to:
            if not self._transport.send(peer, frame):
                log.debug("not sent", remote=peer, kind=effect.message.kind)  # it hears it when it connects
