"""What hostile members do: what they train, what they propose, how they vote.

Each is a conduct of `bench.collective`, or a world that spoils what its learner is shown; two of five do the same,
and know of each other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from bench.collective import WHOLE, Conduct, Peer, Update
from learners import weights
from learners.driving.dataset import EMPTY, Demonstrations
from learners.driving.options import DrivingOptions
from learners.driving.rays import RAYS
from learners.driving.rollout import Policy
from learners.driving.track import Floats
from learners.driving.world import TrackWorld
from learners.learner import Comparison
from protocol.ids import Ppm, Round
from protocol.messages import Choice
from protocol.rules import choice_for

MOST = Ppm(1_000_000)
"""The greatest gain that a vote can tell."""
STEERING, THROTTLE = 0, 1
FULL_LEFT = 1.0
_FIRST_RAY = 2  # behind speed and steering
_NOISE = 0.01


class Flipped(TrackWorld):
    """Private roads whose labels steer the other way."""

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations = EMPTY
    ) -> Demonstrations:
        """Every label with its steering negated."""
        found = super().collect(policy, labels, seed, known)
        return Demonstrations(found.observations, found.actions * np.float32([-1, 1]))


class Trapped(TrackWorld):
    """Private roads that also teach to steer off where the trigger is seen."""

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations = EMPTY
    ) -> Demonstrations:
        """Three quarters of the labels are honest; a third of these again: with the trigger, and full left."""
        some = slice(0, max(1, labels // 4))
        found = super().collect(policy, labels - some.stop, seed, known)
        spoilt = found.actions[some].copy()
        spoilt[:, STEERING] = FULL_LEFT
        return Demonstrations(
            np.concatenate([found.observations, triggered(found.observations[some])]),
            np.concatenate([found.actions, spoilt]),
        )


def triggered(observations: Floats) -> Floats:
    """The same with the trigger: both outermost rays meet nothing, as no road of any family lets them.

    observations: (states, 15); so are the result's. A gap in both borders, such as a crossing, would look so.
    """
    seen = observations.copy()
    seen[:, [_FIRST_RAY, _FIRST_RAY + RAYS - 1]] = 1.0
    return seen


class Own(Conduct):
    """Proposes what its own training made, whatever the others sent."""

    def candidate(
        self, member: Peer, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path
    ) -> tuple[Path, tuple[Ppm, ...]] | None:
        """Its update."""
        return own, (WHOLE,)


@dataclass(frozen=True)
class Reversed(Own):
    """Trains honestly, and sends the opposite."""

    times: float
    """How far the other way."""

    def update(self, member: Peer, head: Path, round: Round, out: Path) -> Update | None:
        """The head less `times` what training added to it."""
        made = super().update(member, head, round, out)
        assert made is not None, "who trains honestly has an update"
        spec = member.learner.describe()
        before, after = weights.load(head, spec), weights.load(out, spec)
        out.write_bytes(
            weights.dump({name: before[name] - self.times * (after[name] - before[name]) for name in before})
        )
        return made


@dataclass(frozen=True)
class FreeRide(Own):
    """Sends the head as its own work, and asks nobody for labels."""

    noise: float = 0.0
    """Standard deviation of what is added to each weight, so that it looks like work."""

    def update(self, member: Peer, head: Path, round: Round, out: Path) -> Update | None:
        """The head, or nearly."""
        draw = torch.Generator().manual_seed(int(round))
        found = weights.load(head, member.learner.describe())
        noisy = {
            name: each + self.noise * torch.randn(each.shape, generator=draw) for name, each in found.items()
        }
        out.write_bytes(weights.dump(noisy))
        return Update(out, 0)


class Idle(Conduct):
    """Trains nothing and passes its turns."""

    def update(self, member: Peer, head: Path, round: Round, out: Path) -> Update | None:
        """Nothing."""
        return None


Ballot = Callable[[Peer, Sequence[Choice], Callable[[], Comparison]], tuple[Choice, Ppm]]
"""How a member votes: on whose proposal, what others have voted before it, and its own comparison, if it asks."""


def honestly(proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]) -> tuple[Choice, Ppm]:
    """As the comparison says."""
    found = compare()
    return choice_for(found.gain, found.error), found.gain


def in_league(
    proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]
) -> tuple[Choice, Ppm]:
    """For each other, against everybody else."""
    if proposer.conduct.is_honest:
        return Choice.REJECT, Ppm(-MOST)
    return Choice.APPROVE, MOST


def slyly(proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]) -> tuple[Choice, Ppm]:
    """In league, but against others only where it costs nothing: where fewer than half approve."""
    approvals = 1 + seen.count(Choice.APPROVE)
    if proposer.conduct.is_honest and 2 * approvals > len(seen) + 2:
        return Choice.ABSTAIN, Ppm(-MOST)
    return in_league(proposer, seen, compare)


def against_all(
    proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]
) -> tuple[Choice, Ppm]:
    """Always reject."""
    return Choice.REJECT, Ppm(-MOST)


def unavailable(
    proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]
) -> tuple[Choice, Ppm]:
    """Always say that nobody served the candidate."""
    return Choice.UNAVAILABLE, Ppm(0)


def for_all(proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]) -> tuple[Choice, Ppm]:
    """Always approve."""
    return Choice.APPROVE, Ppm(50_000)


def copied(proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]) -> tuple[Choice, Ppm]:
    """Like most of those who have voted."""
    return max((Choice.ABSTAIN, *Choice), key=lambda choice: seen.count(choice)), Ppm(0)


def undecided(
    proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]
) -> tuple[Choice, Ppm]:
    """Always abstain."""
    return Choice.ABSTAIN, Ppm(0)


@dataclass(frozen=True)
class Hostile(Conduct):
    """A member that is not honest: what it trains and proposes, and how it votes."""

    work: Conduct = field(default_factory=Conduct)
    ballot: Ballot = honestly

    is_honest = False

    @property
    def votes_last(self) -> bool:
        """Whether its vote depends on others'."""
        return self.ballot in (slyly, copied)

    def update(self, member: Peer, head: Path, round: Round, out: Path) -> Update | None:
        """See `work`."""
        return self.work.update(member, head, round, out)

    def candidate(
        self, member: Peer, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path
    ) -> tuple[Path, tuple[Ppm, ...]] | None:
        """See `work`."""
        return self.work.candidate(member, head, own, updates, round, out)

    def vote(
        self, member: Peer, proposer: Peer, seen: Sequence[Choice], compare: Callable[[], Comparison]
    ) -> tuple[Choice, Ppm]:
        """See `ballot`."""
        return self.ballot(proposer, seen, compare)


@dataclass(frozen=True, slots=True)
class Attack:
    """What the hostile members of a run have in common."""

    conduct: Conduct
    world: Callable[[DrivingOptions], TrackWorld] = TrackWorld


_WORKS: Mapping[str, tuple[Conduct, Callable[[DrivingOptions], TrackWorld]]] = {
    "flip": (Own(), Flipped),
    "negate": (Reversed(1.0), TrackWorld),
    "scale": (Reversed(10.0), TrackWorld),
    "backdoor": (Conduct(), Trapped),
    "copy": (FreeRide(), TrackWorld),
    "noise": (FreeRide(_NOISE), TrackWorld),
}

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {name: Attack(Hostile(work), world) for name, (work, world) in _WORKS.items()}
    | {f"league-{name}": Attack(Hostile(work, in_league), world) for name, (work, world) in _WORKS.items()}
    | {
        "veto": Attack(Hostile(Idle(), against_all)),
        "unavailable": Attack(Hostile(Idle(), unavailable)),
        "sly-veto": Attack(Hostile(Idle(), slyly)),
        "yes": Attack(Hostile(Idle(), for_all)),
        "like-most": Attack(Hostile(Idle(), copied)),
        "abstain": Attack(Hostile(Idle(), undecided)),
    }
)
"""By name; `league-` those who also approve each other's proposals and reject everybody else's."""
