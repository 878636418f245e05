"""Ways to spend a turn's labels: on states drawn at random, where doubt is, or where the expert had to take over."""

from learners.driving.dagger import collect
from learners.driving.dataset import Demonstrations, joined
from learners.driving.doubt import collect_by_doubt, fit_ensemble
from learners.driving.gating import RuleGate, collect_gated
from learners.driving.options import Asking
from learners.driving.rollout import Policy
from learners.driving.track import Tracks


def ask(
    asking: Asking, policy: Policy | None, tracks: Tracks, labels: int, seed: int, known: Demonstrations
) -> Demonstrations:
    """The labels of one turn, at most `labels`, of which only "gated" asks for fewer.

    policy: who drives; None lets the expert drive, however it is asked. known: all labels so far; as long as there
    are none, nothing can be doubted and states are drawn.
    """
    if policy is None:
        return collect(None, tracks, labels, seed)
    if asking == "gated":
        return collect_gated(policy, RuleGate(), tracks, labels, seed)
    if asking == "doubt" and len(known):
        return collect_by_doubt(policy, fit_ensemble(known, seed), tracks, labels, seed)
    if asking == "mixed":
        corrections = collect_gated(policy, RuleGate(), tracks, labels // 2, seed)
        return joined([corrections, collect(policy, tracks, labels - len(corrections), seed)])
    return collect(policy, tracks, labels, seed)
