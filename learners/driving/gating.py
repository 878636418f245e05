"""Gates: when the expert takes the wheel from a policy, and when it hands it back.

As in HG-DAgger (Kelly et al. 2019) the policy drives until a gate closes, the expert drives until it opens, and only
what the expert did is recorded: corrections where the policy was about to fail, and how to come back from there.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learners.driving import car, expert
from learners.driving.car import Lanes
from learners.driving.dataset import Demonstrations
from learners.driving.doubt import Ensemble
from learners.driving.rays import observe
from learners.driving.rollout import Policy
from learners.driving.track import Bools, Floats, Tracks

LANES = 8
"""Cars that drive side by side."""
DRIVE_STEPS = 800
"""How long each of them drives: 40 s, about a lap. Who needs no help in that needs no labels."""
USUAL, RARE = 0.5, 0.9
"""The shares of known states that are doubted less than where a gate of doubt opens, and where it closes."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Every lane at one instant, as whoever minds the gate may see it."""

    lanes: Lanes
    tracks: Tracks
    observations: Floats
    """(lanes, 15)."""
    intended: Floats
    """What the policy would do: (lanes, 2)."""
    advised: Floats
    """What the expert would do: (lanes, 2)."""


class Gate(Protocol):
    """Who decides when the expert drives: a rule, a doubt, or a person with a wheel under the hands."""

    def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
        """The lanes that the expert drives from now on: (lanes,).

        was_closed: those that it has been driving, none of them at the start of a lap; what a person
        signals, or a rule with hysteresis, depends on it.
        """


@dataclass(frozen=True, slots=True)
class RuleGate:
    """Closed near the border on the way out, or when policy and expert disagree; open near the centreline."""

    border: float = 0.6
    """The share of the half-width from which on a car that heads outward is stopped from it."""
    steering: float = 0.3
    """By how much the two steering commands may differ; they span [-1, 1]."""
    throttle: float = 1.0
    """Likewise; who is too fast for a bend is stopped before it, not at the border."""
    centre: float = 0.25
    """The share of the half-width within which the wheel is handed back,"""
    askew: float = 0.1
    """when the car points along the road, within so many radians,"""
    agreement: float = 0.15
    """and the two steering commands differ by less."""
    slowest: float = 2.0
    """Metres a second; the expert is never slower than 3. A car that stands does not leave the road, nor learn."""

    def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
        """See `Gate`."""
        away = np.abs(moment.lanes.offset) / moment.tracks.half_width[moment.lanes.track]
        angle = askew(moment.lanes, moment.tracks)
        is_leaving = (away > self.border) & (angle * np.sign(moment.lanes.offset) > 0)
        steering, throttle = np.abs(moment.intended - moment.advised).T
        is_apart = (steering > self.steering) | (throttle > self.throttle)
        closes = is_leaving | is_apart | (moment.lanes.speed < self.slowest)
        opens = (away < self.centre) & (np.abs(angle) < self.askew) & (steering < self.agreement)
        closed: Bools = closes | (was_closed & ~opens)
        return closed


@dataclass(frozen=True, slots=True)
class DoubtGate:
    """Closed where an ensemble disagrees, open where it agrees again; asks no expert whether to take over."""

    ensemble: Ensemble
    closes: float
    """Doubt above which the expert takes over."""
    opens: float
    """Doubt below which it hands back; less than `closes`, or the wheel changes hands at every step."""

    def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
        """See `Gate`."""
        doubt = self.ensemble.doubt(moment.observations)
        closed: Bools = (doubt > self.closes) | (was_closed & (doubt >= self.opens))
        return closed


def doubt_gate(ensemble: Ensemble, known: Demonstrations) -> DoubtGate:
    """A gate that closes where there is more doubt than about nearly all that is known, and opens at the usual one.

    known: the labels the ensemble was fitted to.
    """
    opens, closes = np.quantile(ensemble.doubt(known.observations), (USUAL, RARE))
    return DoubtGate(ensemble, float(closes), float(opens))


def askew(lanes: Lanes, tracks: Tracks) -> Floats:
    """The angle between each car and its road, radians in [-pi, pi), positive to the left: (lanes,)."""
    along = np.arctan2(
        tracks.tangent_y[lanes.track, lanes.station], tracks.tangent_x[lanes.track, lanes.station]
    )
    angle: Floats = (lanes.heading - along + np.pi) % (2 * np.pi) - np.pi
    return angle


def collect_gated(policy: Policy, gate: Gate, tracks: Tracks, labels: int, seed: int) -> Demonstrations:
    """At most `labels` states in which the expert drove, drawn from those of a bounded drive, with what it did.

    Fewer, maybe none, when the policy got along without: labels follow need.
    """
    rng = np.random.default_rng(seed)
    lanes = car.start(tracks, rng.integers(0, len(tracks), LANES), rng)
    is_closed = np.zeros(LANES, np.bool_)
    observations, actions, taken = [], [], 0
    for _ in range(DRIVE_STEPS):
        seen = observe(lanes, tracks)
        moment = Moment(lanes, tracks, seen, policy(seen), expert.drive(lanes, tracks))
        is_closed = gate.is_closed(moment, is_closed)
        observations.append(seen[is_closed])
        actions.append(moment.advised[is_closed])
        taken += int(is_closed.sum())
        lanes = car.step(lanes, tracks, np.where(is_closed[:, None], moment.advised, moment.intended))
        lanes, is_fresh = car.restarted(lanes, tracks, rng)
        is_closed = is_closed & ~is_fresh
    chosen = rng.choice(taken, min(labels, taken), replace=False)
    return Demonstrations(
        np.concatenate(observations)[chosen], np.concatenate(actions)[chosen], np.ones(len(chosen), np.bool_)
    )
