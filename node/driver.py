"""The shell around `step`: feeds it events, runs its effects, and owns every task and bound (SPEC.md, step).

    topic.follow() ----> Recorded -.
    transport.inbound() > Received -+--> [event queue] --> step --> effects --> tasks --> events again
    timer -------------> Tick ----'

Written against anyio: on trio in production, on asyncio with the in-memory transport in tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import assert_never

import anyio
import structlog
from anyio.abc import TaskGroup
from pydantic import TypeAdapter

from learners.files import TEMPORARY
from learners.learner import BadWeights, LearnerError, LearnerSpec
from ledger.topic import TopicMessage
from node.admission import admitted, check_honour, check_learner, check_run, has_left
from node.blobs import BadBlob
from node.cosigner import see_through
from node.journal import AlreadySigned, JournalFull
from node.means import Means
from node.net.transport import Connected, Disconnected, FetchFailed, Frame, Transport
from node.reader import read_topic
from node.reports import report
from node.submissions import Submissions
from protocol.errors import Ignore, Invalid
from protocol.fields import canonical
from protocol.ids import Digest, Nanoseconds, PeerId, Ppm, Signature
from protocol.messages import Choice, ProposalBody, VoteBody, parse_message
from protocol.records import PassBody, PresentBody
from protocol.rules import choice_for
from protocol.signing import sign
from protocol.state import RunState
from protocol.step import step
from protocol.timing import alarm
from protocol.view import (
    Adopt,
    Body,
    CaughtUp,
    Cosign,
    Event,
    Fetch,
    Fetched,
    FetchingFailed,
    PeerUp,
    Received,
    Recorded,
    Score,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Signed,
    Submit,
    Tick,
    Train,
    Trained,
    TrainingFailed,
    View,
    kind_of,
    slot_of,
)

MAX_EVENTS = 1024
"""Events that wait for `step`; beyond that their producers wait."""

MAX_GAIN = 1_000_000
"""ppm: what a vote can say at most."""

Task = Train | Fetch | Score | Sign | Send | Adopt | Cosign
"""Effects that each run in a task of their own; what is left is Submit."""

_BODY: TypeAdapter[Body] = TypeAdapter(ProposalBody | VoteBody | PassBody | PresentBody)

log = structlog.get_logger("node.driver")


class _Barrier:
    """In the queue between events: all before it have been taken in once it is reached."""

    def __init__(self) -> None:
        self.reached = anyio.Event()


class Driver:
    """One node: its view, its event queue, and the tasks that its effects started."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.view = View(peer=means.identity.peer, topic=means.topic_id)
        self._inbox, self._outbox = anyio.create_memory_object_stream[Event | _Barrier](MAX_EVENTS)
        self._alarm: Nanoseconds | None = None
        self._rearmed = anyio.Event()
        self._submissions = Submissions(means.topic, means.account)
        self._turn = anyio.CapacityLimiter(1)
        self._transport: Transport | None = None

    async def run(self) -> None:
        """Take part until cancelled. Raises RunError, and HistoryBroken when the topic does not chain."""
        spec = await self._prepare()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._timer)
            tasks.start_soon(self._loop, tasks, spec)
            await read_topic(self.means.topic, self.means.transfers, self._on_message, self._current)

    async def _on_message(self, event: Recorded | CaughtUp, message: TopicMessage | None) -> None:
        if message is not None:
            self._submissions.on_read(message)
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
        out = self.means.blobs.new_temp()
        await self.means.learner.initial(out)
        digest = await anyio.to_thread.run_sync(self.means.blobs.keep, out)
        self.view = replace(self.view, blobs=frozenset({digest}))
        return spec

    # ---- events ----

    async def _loop(self, tasks: TaskGroup, spec: LearnerSpec) -> None:
        async for event in self._outbox:
            if isinstance(event, _Barrier):
                event.reached.set()
                continue
            if isinstance(event, CaughtUp):
                tasks.start_soon(self._network, check_run(self.means, self.view.state, spec))
            if isinstance(event, Recorded):
                self._submissions.on_folded(event.stamp.sequence)
            before, now = self.view.state, self.means.clock()
            try:
                self.view, effects = step(self.view, event, now)
            except Ignore as reason:
                log.debug("ignored", input=type(event).__name__, reason=str(reason))
                continue
            except Invalid as fault:
                self._blame(event, fault)
                continue
            self._rearm(now)
            state = self.view.state
            if state is not before and state is not None:
                self._admit()
                report(before, state, self.view.live)
                if before is not None and self.view.live and not self._belongs(before, state, spec):
                    tasks.cancel_scope.cancel()
            for effect in effects:
                if isinstance(effect, Submit):
                    # Its key is that of this moment: it must not be that of a copy which comes back meanwhile.
                    key = self._submissions.key_of(effect.record)
                    tasks.start_soon(self._submissions.submit, effect.record, key)
                else:
                    tasks.start_soon(self._perform, effect)

    def _blame(self, event: Event, fault: Invalid) -> None:
        if isinstance(event, Received) and self._transport is not None:
            log.warning("invalid message", sender=event.sender, reason=str(fault))
            self._transport.drop(event.sender, str(fault))
        elif isinstance(event, Recorded):
            log.warning("invalid record", sequence=event.stamp.sequence, reason=str(fault))
        else:
            raise fault  # our own event broke a rule: a bug

    async def _network(self, state: RunState) -> None:
        """Once the topic has been read, talk to the other members."""
        log.info("taking part", run=state.run, place=self.view.place, round=open_number(state))
        async with self.means.open_transport() as transport:
            self._transport = transport
            self._admit()
            async for item in transport.inbound():
                match item:
                    case Connected(peer):
                        log.info("connected", remote=peer)
                        await self._inbox.send(PeerUp(peer))
                    case Disconnected(peer):
                        log.info("disconnected", remote=peer)
                    case Frame(peer, body):
                        await self._on_frame(transport, peer, body)

    def _belongs(self, before: RunState, state: RunState, spec: LearnerSpec) -> bool:
        """Whether there is still something for us to do in the run. Raises RunError when we do not fit it any more."""
        if state.params is not before.params:
            check_learner(state, spec)
        check_honour(state, self.view.peer)
        if has_left(state, self.view.peer):
            log.info("left the run: nothing is left to do here")
            return False
        return True

    def _admit(self) -> None:
        if self._transport is not None and self.view.state is not None:
            self._transport.admit(admitted(self.view.state, self.view.peer))

    async def _on_frame(self, transport: Transport, peer: PeerId, body: bytes) -> None:
        try:
            message = parse_message(body)
        except Invalid as fault:
            log.warning("invalid message", sender=peer, reason=str(fault))
            transport.drop(peer, str(fault))
            return
        await self._inbox.send(Received(peer, message))

    # ---- time ----

    def _rearm(self, now: Nanoseconds) -> None:
        """Ask with the very time that `step` was given: a later one could miss what fell due in between."""
        due = alarm(self.view, now)
        if due != self._alarm:
            self._alarm = due
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
            case Train() | Score():
                await self._learn(effect)
            case Fetch():
                await self._fetch(effect)
            case Sign():
                await self._speak(effect.body)
            case Send():
                self._send(effect)
            case Adopt():
                await self._adopt(effect)
            case Cosign():
                await self._cosign(effect)
            case _:
                assert_never(effect)

    async def _learn(self, effect: Train | Score) -> None:
        """Wait for the learner's turn; rounds that have passed meanwhile must not hold up the present one."""
        async with self._turn:
            state = self.view.state
            last = 0 if state is None or state.last is None else state.last.number
            if isinstance(effect, Train) and effect.round > last:
                await self._train(effect)
            elif isinstance(effect, Score) and effect.round >= last:  # a late vote still has its credit
                await self._score(effect)
            else:
                log.info("the learner came too late", round=effect.round)

    async def _train(self, effect: Train) -> None:
        try:
            with self._temporary() as out:
                done = await self.means.learner.propose(
                    self._path(effect.head), effect.round, out, self._patience()
                )
                size = out.stat().st_size
                if not size:
                    raise LearnerError("the learner wrote no weights; update its package")
                digest = await anyio.to_thread.run_sync(self.means.blobs.keep, out)
        except (LearnerError, BadWeights, OSError) as error:
            log.warning("training failed", round=effect.round, reason=str(error))
            await self._inbox.send(TrainingFailed(effect.round))
            return
        log.info(
            "trained", round=effect.round, labels=done.labels, labels_total=done.labels_total, loss=done.loss,
            candidate=digest, size=size,
        )  # fmt: skip
        await self._inbox.send(Trained(effect.round, effect.head, digest, size))

    async def _score(self, effect: Score) -> None:
        try:
            head, candidate = self._path(effect.head), self._path(effect.candidate)
            found = await self.means.learner.score(head, candidate, effect.round, self._patience())
            if abs(found.gain) > MAX_GAIN:
                raise LearnerError(f"the learner found a gain of {found.gain} ppm; update its package")
        except BadWeights as error:
            log.warning("malformed candidate", round=effect.round, reason=str(error))
            await self._inbox.send(Scored(effect.round, effect.candidate, Choice.REJECT, Ppm(0)))
            return
        except LearnerError as error:
            log.warning("scoring failed", round=effect.round, reason=str(error))
            await self._inbox.send(ScoringFailed(effect.round, effect.candidate))
            return
        choice = choice_for(found.gain, found.error)
        log.info(
            "scored", round=effect.round, choice=choice, head=found.head, candidate=found.candidate,
            gain=found.gain, error=found.error, samples=found.samples,
        )  # fmt: skip
        await self._inbox.send(Scored(effect.round, effect.candidate, choice, found.gain))

    async def _fetch(self, effect: Fetch) -> None:
        if self.means.blobs.path_of(effect.digest) is not None:
            await self._inbox.send(Fetched(effect.digest))
            return
        for peer in effect.sources:
            if await self._fetch_from(peer, effect):
                await self._inbox.send(Fetched(effect.digest))
                return
        await self._inbox.send(FetchingFailed(effect.digest))

    async def _fetch_from(self, peer: PeerId, effect: Fetch) -> bool:
        if self._transport is None:
            return False
        try:
            with self._temporary() as out:
                await self._transport.fetch(peer, effect.digest, effect.size, out)
                await anyio.to_thread.run_sync(self.means.blobs.adopt_file, out, effect.digest)
        except (FetchFailed, BadBlob, OSError) as error:  # a full disk may have room again later
            log.warning("fetch failed", remote=peer, digest=effect.digest, reason=str(error))
            return False
        return True

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A file to be filled and kept; it is removed when it comes to neither, and what was half written, too."""
        out = self.means.blobs.new_temp()
        try:
            yield out
        finally:
            for leftover in (out, out.with_name(out.name + TEMPORARY)):
                leftover.unlink(missing_ok=True)

    async def _cosign(self, effect: Cosign) -> None:
        treasury, clock = self.means.treasury, self.means.clock
        await self._inbox.send(await see_through(treasury, effect.number, effect.payout, clock))

    async def _speak(self, body: Body) -> None:
        """Sign, or be silent in this round: a disk that is full may have room in the next."""
        try:
            await self._inbox.send(await anyio.to_thread.run_sync(self._sign, body))
        except JournalFull as error:
            log.error("cannot sign", slot=slot_of(body), round=body.round, reason=str(error))

    def _sign(self, body: Body) -> Signed:
        """Into the journal before anybody hears of it: after a crash a round gets the same words, or none."""
        slot, raw = slot_of(body), canonical(body)
        signature = sign(self.means.identity.secret, kind_of(body), body)
        try:
            self.means.journal.remember(slot, body.run, body.round, raw, signature.encode() + raw)
        except AlreadySigned as earlier:
            log.warning("already signed", slot=slot, round=body.round)
            before, words = earlier.existing[: len(signature)], earlier.existing[len(signature) :]
            return Signed(_BODY.validate_json(words), Signature(before.decode()))
        return Signed(body, signature)

    def _send(self, effect: Send) -> None:
        state, transport = self.view.state, self._transport
        if state is None or transport is None:
            return
        frame = canonical(effect.message)
        for peer in effect.to:
            if not transport.send(peer, frame):
                log.debug("not sent", remote=peer, kind=effect.message.kind)  # it hears it when it connects

    async def _adopt(self, effect: Adopt) -> None:
        try:
            await self.means.learner.adopt(self._path(effect.head), effect.round)
        except (LearnerError, BadWeights) as error:
            log.warning("the learner did not adopt the head", round=effect.round, reason=str(error))

    def _patience(self) -> float:
        """Seconds for one call of the learner: what takes longer than a round comes too late for any."""
        state = self.view.state
        return 60.0 if state is None else float(state.params.round_window)

    def _path(self, digest: Digest) -> Path:
        path = self.means.blobs.path_of(digest)
        if path is None:
            raise LearnerError(f"blob {digest} is not in the store")
        return path


def open_number(state: RunState) -> int | None:
    """The number of the open round, or None when the run has ended."""
    return None if state.open is None else state.open.number
