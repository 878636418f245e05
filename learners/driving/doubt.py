"""Doubt: where a peer's own labels do not settle what to do, as the disagreement of an ensemble fitted to them.

As in EnsembleDAgger (Menda et al. 2019), but cheap enough to fit anew each turn: every member is a ridge regression on
features of its own, a random hidden layer, over a bootstrap of the labels. Members agree where there are labels, and
each goes its own way elsewhere.
"""

import math
from dataclasses import dataclass

import numpy as np

from learners.driving.dagger import DRIVE_STEPS, LANES, drive
from learners.driving.dataset import Demonstrations
from learners.driving.rollout import Policy
from learners.driving.track import Floats, Tracks

MEMBERS = 5
UNITS = 128
"""Random features of each member."""
DRAWN = 0.5
"""The share of labels that go to states drawn at random, so that what nobody doubts is checked too."""
OF = 4
"""Of how many drawn states one is the doubtful one."""
_SPREAD = 2.0  # of the first layer: how fast features change with what is seen
_RIDGE = 1e-2  # a label


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several answers to every state; local to a peer and never sent."""

    mean: Floats
    scale: Floats
    """(15,) each: what is seen is shifted and scaled by them first."""
    hidden: Floats
    """(members, 15 + 1, units): a random layer, its last row the bias."""
    readout: Floats
    """(members, units + 1, 2), fitted."""

    def answers(self, observations: Floats) -> Floats:
        """What each member would do: (members, states, 2)."""
        found: Floats = _features((observations - self.mean) / self.scale, self.hidden) @ self.readout
        return found

    def doubt(self, observations: Floats) -> Floats:
        """The variance of the members' answers, summed over both actions: (states,)."""
        found: Floats = self.answers(observations).var(axis=0).sum(axis=-1)
        return found


def fit_ensemble(known: Demonstrations, seed: int) -> Ensemble:
    """Members fitted to bootstraps of the labels; the same labels and seed give the same ensemble.

    known: one label at least.
    """
    rng = np.random.default_rng(seed)
    mean, scale = known.observations.mean(axis=0), known.observations.std(axis=0) + np.float32(0.05)
    seen = (known.observations - mean) / scale
    inputs = seen.shape[1]
    hidden = rng.normal(0, _SPREAD / np.sqrt(inputs), (MEMBERS, inputs + 1, UNITS)).astype(np.float32)
    readouts = []
    for layer in hidden:
        rows = rng.integers(0, len(known), len(known))
        features = _features(seen[rows], layer[None])[0].astype(np.float64)
        gram = features.T @ features + _RIDGE * len(rows) * np.eye(UNITS + 1)
        readouts.append(np.linalg.solve(gram, features.T @ known.actions[rows]))
    return Ensemble(mean, scale, hidden, np.stack(readouts).astype(np.float32))


def collect_by_doubt(
    policy: Policy, ensemble: Ensemble, tracks: Tracks, labels: int, seed: int
) -> Demonstrations:
    """Exactly `labels` states that driving led to, with the expert's action there: a share of them drawn, the others
    the most doubtful of a few times as many that are drawn too.

    The most doubtful of all would be neighbours in time, that say the same.
    """
    rng = np.random.default_rng(seed)
    drawn = int(labels * DRAWN)
    seen = drive(policy, tracks, max(DRIVE_STEPS, math.ceil(labels * OF / LANES)), rng)
    order = rng.permutation(len(seen))
    rest = order[drawn : drawn + (labels - drawn) * OF]
    doubtful = rest[np.argsort(-ensemble.doubt(seen.observations[rest]), kind="stable")]
    return seen.at(np.concatenate([order[:drawn], doubtful[: labels - drawn]]))


def _features(seen: Floats, hidden: Floats) -> Floats:
    layer = np.tanh(seen @ hidden[:, :-1] + hidden[:, -1:])
    ones = np.ones((*layer.shape[:-1], 1), np.float32)
    found: Floats = np.concatenate([layer, ones], axis=-1)
    return found
