"""What a node asks of its learner: one thing at a time, given up when nobody wants it any more (SPEC.md, step)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import structlog

from learners.files import TEMPORARY
from learners.learner import BadWeights, LearnerError
from node.core import Core, scored
from node.history import keep_merge, keep_round
from node.means import Means
from protocol.contributions import WHOLE
from protocol.ids import Digest, Ppm
from protocol.messages import Choice
from protocol.timing import topic_time
from protocol.view import (
    Adopt,
    Event,
    Gone,
    Merge,
    Merged,
    MergingFailed,
    Score,
    Scored,
    ScoringFailed,
    Train,
    Trained,
    TrainingFailed,
)

log = structlog.get_logger("node.learning")


class Learning:
    """A learner's turns: what is made comes into the store, and what is found goes to the core as an event."""

    def __init__(self, means: Means, core: Core, answer: Callable[[Event], Awaitable[None]]) -> None:
        self._means = means
        self._core = core
        self._answer = answer
        self._turn = anyio.CapacityLimiter(1)
        self._making: tuple[Train | Merge, anyio.CancelScope] | None = None

    async def turn(self, effect: Train | Merge | Score) -> None:
        """Wait for the learner's turn; what has been overtaken meanwhile must not hold up what is wanted now."""
        async with self._turn:
            if not self._core.is_wanted(effect):
                log.info("the learner came too late", round=effect.round)
            elif isinstance(effect, Score):
                await self.score(effect)
            else:
                with anyio.CancelScope() as scope:
                    self._making = effect, scope
                    await (self.train(effect) if isinstance(effect, Train) else self.merge(effect))
                self._making = None

    def give_up(self) -> None:
        """Call off what the learner trains or merges, where nobody wants it any more."""
        if self._making is not None and not self._core.is_wanted(self._making[0]):
            log.info("training given up", round=self._making[0].round)
            self._making[1].cancel()

    async def train(self, effect: Train) -> None:
        """Answer with Trained or TrainingFailed."""
        means = self._means
        try:
            head = await self._whole(effect.head)
            with self._temporary() as out:
                started = anyio.current_time()
                done = await means.learner.propose(head, effect.round, out, self._patience())
                seconds = anyio.current_time() - started
                digest, size = await self._keep(out)
        except (LearnerError, BadWeights, OSError) as error:
            log.warning("training failed", round=effect.round, reason=str(error))
            await self._answer(TrainingFailed(effect.round))
            return
        means.observer.on_trained(effect.round, done, seconds)
        log.info(
            "trained", round=effect.round, seconds=round(seconds, 4), labels=done.labels,
            labels_total=done.labels_total, loss=done.loss, candidate=digest, size=size,
        )  # fmt: skip
        await self._answer(Trained(effect.round, effect.head, digest, size, means.blobs.pieces_of(digest)))

    async def merge(self, effect: Merge) -> None:
        """Answer with Merged or MergingFailed."""
        means = self._means
        try:
            head, own = await self._whole(effect.head), await self._whole(effect.own)
            updates = [await self._whole(digest) for _, digest in effect.updates]
            await keep_merge(means.history, means.blobs, effect)
            with self._temporary() as out:
                started = anyio.current_time()
                done = await means.learner.merge(
                    head, own, updates, effect.round, out, self._merging_patience()
                )
                seconds = anyio.current_time() - started
                check_shares(done.shares, 1 + len(updates))
                digest, size = await self._keep(out)
        except (LearnerError, BadWeights, OSError) as error:
            log.warning("merging failed", round=effect.round, reason=str(error))
            await self._answer(MergingFailed(effect.round))
            return
        others = {place: share for (place, _), share in zip(effect.updates, done.shares[1:], strict=True)}
        log.info(
            "merged", round=effect.round, seconds=round(seconds, 4), own=done.shares[0], others=others,
            candidate=digest, size=size,
        )  # fmt: skip
        pieces = means.blobs.pieces_of(digest)
        await self._answer(Merged(effect.round, effect.head, digest, size, pieces, done.shares))

    async def score(self, effect: Score) -> None:
        """Answer with Scored or ScoringFailed."""
        learner = self._means.learner
        try:
            head, candidate = await self._whole(effect.head), await self._whole(effect.candidate)
            await keep_round(
                self._means.history, self._means.blobs, effect.round, effect.head, effect.candidate
            )
            started = anyio.current_time()
            found = await learner.score(head, candidate, effect.round, self._patience())
            vote = scored(effect, found)
        except BadWeights as error:
            log.warning("malformed candidate", round=effect.round, reason=str(error))
            await self._answer(Scored(effect.round, effect.candidate, Choice.REJECT, Ppm(0)))
            return
        except LearnerError as error:
            log.warning("scoring failed", round=effect.round, reason=str(error))
            await self._answer(ScoringFailed(effect.round, effect.candidate))
            return
        seconds = anyio.current_time() - started
        self._means.observer.on_scored(effect.round, found, seconds)
        log.info(
            "scored", round=effect.round, choice=vote.choice, seconds=round(seconds, 4), head=found.head,
            candidate=found.candidate, gain=found.gain, error=found.error, samples=found.samples,
        )  # fmt: skip
        await self._answer(vote)

    async def adopt(self, effect: Adopt) -> None:
        """Tell the learner of the head, and have it outlive a loss of power."""
        try:
            await self._means.learner.adopt(await self._whole(effect.head), effect.round)
            await anyio.to_thread.run_sync(self._means.blobs.settle, effect.head)
        except (LearnerError, BadWeights, OSError) as error:
            log.warning("the learner did not adopt the head", round=effect.round, reason=str(error))

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A file to be filled and kept; it is removed when it comes to neither, and what was half written, too."""
        out = self._means.blobs.new_temp()
        try:
            yield out
        finally:
            for leftover in (out, out.with_name(out.name + TEMPORARY)):
                leftover.unlink(missing_ok=True)

    async def _keep(self, out: Path) -> tuple[Digest, int]:
        """Keep what the learner has written: its name, and its size in bytes. Raises LearnerError, OSError."""
        return await anyio.to_thread.run_sync(self._keep_here, out)

    def _keep_here(self, out: Path) -> tuple[Digest, int]:
        size = out.stat().st_size
        if not size:
            raise LearnerError("the learner wrote no weights; update its package")
        return self._means.blobs.keep(out), size

    def _patience(self) -> float:
        """Seconds for one call of the learner: what takes longer than a round comes too late for any."""
        state = self._core.view.state
        return 60.0 if state is None else float(state.params.round_window)

    def _merging_patience(self) -> float:
        """Seconds for a merge: until votes go to the topic, then our own update is proposed alone instead."""
        view = self._core.view
        if view.state is None or view.open is None:
            return self._patience()
        left = topic_time(view.state, view.open) - self._means.clock()
        return max(self._patience() / 16, left / 1e9)

    async def _whole(self, digest: Digest) -> Path:
        """The file of a blob, its bytes checked. Raises LearnerError: then it is to be fetched again."""
        path = await anyio.to_thread.run_sync(self._means.blobs.whole, digest)
        if path is None:
            await self._answer(Gone(digest))
            raise LearnerError(f"blob {digest} is gone, or has rotted on disk; it is fetched again")
        return path


def check_shares(shares: Sequence[Ppm], number: int) -> None:
    """Check that so many shares make a whole. Raises LearnerError."""
    if len(shares) != number or min(shares) < 0 or sum(shares) != WHOLE:
        raise LearnerError(f"the learner merged {number} weights into shares {shares}; update its package")
