"""A learner that learns nothing: candidates have a hidden quality, and each node sees it with noise of its own."""

from collections import deque
from collections.abc import Sequence
from random import Random

from learners.learner import Comparison, LearnerError
from node.core import Core, scored
from protocol.contributions import WHOLE
from protocol.ids import Digest, Ppm, digest_of
from protocol.messages import PIECE_BYTES, Choice
from protocol.view import (
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

STEP = 20_000
"""ppm: how much better or worse than its head a candidate is, give or take."""
ABSURD = -100_000
"""ppm: an update that is worse than its head by more is no update."""
MALFORMED = 0.02
"""How many candidates are no weights at all."""


class Weights:
    """The hidden quality of all weights that were ever made, in ppm."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._qualities: dict[Digest, int] = {}
        self._malformed: set[Digest] = set()
        self._made = 0

    def make(self, base: Digest, quality: int | None = None) -> Digest:
        """New weights, better or worse than their base by chance."""
        self._made += 1
        made = digest_of(b"weights %d from %s" % (self._made, base.encode()))
        change = int(self._random.gauss(STEP / 2, STEP)) if quality is None else quality
        self._qualities[made] = self._qualities.get(base, 0) + change
        if self._random.random() < MALFORMED:
            self._malformed.add(made)
        return made

    def merge(self, base: Digest, parts: Sequence[Digest]) -> tuple[Digest, list[int]]:
        """Weights as good as the mean of the parts that are not absurd, and which those are (1, else 0)."""
        start = self._qualities.get(base, 0)
        gains = [self._qualities.get(part, 0) - start for part in parts]
        trust = [
            int(gain > ABSURD and part not in self._malformed)
            for gain, part in zip(gains, parts, strict=True)
        ]
        trust[0] = trust[0] if any(trust) else 1
        mean = sum(gain * each for gain, each in zip(gains, trust, strict=True)) // sum(trust)
        return self.make(base, mean), trust

    def size(self) -> tuple[int, Digest | None]:
        """Bytes, and the digest of their pieces where there are several."""
        if self._random.random() < 0.8:
            return 1000, None
        return 3 * PIECE_BYTES, digest_of(b"pieces %d" % self._made)

    def is_malformed(self, digest: Digest) -> bool:
        """Whether a learner refuses them."""
        return digest in self._malformed

    def compare(self, head: Digest, candidate: Digest, noise: Random) -> Comparison:
        """What one node finds on its own data."""
        gain = self._qualities.get(candidate, 0) - self._qualities.get(head, 0)
        found = max(-1_000_000, min(1_000_000, gain + int(noise.gauss(0, STEP / 4))))
        return Comparison(
            head=Ppm(0), candidate=Ppm(found), gain=Ppm(found), error=Ppm(STEP // 10), samples=100
        )


class Bench:
    """The queue of one node's learner: one thing at a time, as the driver has it (node/driver.py)."""

    __slots__ = ("current", "token", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Train | Merge | Score] = deque()
        self.current: Train | Merge | Score | None = None
        self.token = 0
        """Of what it works at: what it was told to give up answers under an old one."""

    def next(self, core: Core) -> Train | Merge | Score | None:
        """What it is to do now, or None where it is at something, or nothing is wanted."""
        while self.current is None and self.waiting:
            effect = self.waiting.popleft()
            if core.is_wanted(effect):
                self.current = effect
                self.token += 1
                return effect
        return None

    def give_up(self, core: Core) -> bool:
        """Stop a training or merging that nobody wants any more; whether there was one."""
        if not isinstance(self.current, Train | Merge) or core.is_wanted(self.current):
            return False
        self.current = None
        return True

    def is_done(self, token: int) -> bool:
        """Take note that it has done what it was at under a token; False: it was told to give that up."""
        if self.current is None or token != self.token:
            return False
        self.current = None
        return True


def failure(effect: Train | Merge | Score) -> TrainingFailed | MergingFailed | ScoringFailed:
    """What a learner that fails says."""
    if isinstance(effect, Merge):
        return MergingFailed(effect.round)
    if isinstance(effect, Train):
        return TrainingFailed(effect.round)
    return ScoringFailed(effect.round, effect.candidate)


def trained(effect: Train, weights: Weights) -> Trained:
    """What a learner that trained says."""
    candidate = weights.make(effect.head)
    size, pieces = weights.size()
    return Trained(effect.round, effect.head, candidate, size, pieces)


def merged(effect: Merge, weights: Weights) -> Merged:
    """What a learner that merged says."""
    candidate, trust = weights.merge(effect.head, [effect.own, *(digest for _, digest in effect.updates)])
    shares = [Ppm(WHOLE // sum(trust) * each) for each in trust]
    shares[0] = Ppm(WHOLE - sum(shares[1:]))
    size, pieces = weights.size()
    return Merged(effect.round, effect.head, candidate, size, pieces, tuple(shares))


def compared(effect: Score, weights: Weights, found: Comparison) -> Scored | ScoringFailed:
    """What a learner that compared says."""
    if weights.is_malformed(effect.candidate):
        return Scored(effect.round, effect.candidate, Choice.REJECT, Ppm(0))
    try:
        return scored(effect, found)
    except LearnerError:
        return ScoringFailed(effect.round, effect.candidate)
