"""One candidate of several members' updates, of whom all but one's own may lie (SPEC.md, contributions).

As in FLTrust (Cao et al. 2021) the merger trusts its own data, and nothing else: an update weighs what it gains
there, once it is no longer than the merger's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learners.shares import shares_of
from protocol.ids import Ppm

Weights = Mapping[str, Tensor]

ENORMOUS = 10.0
"""An update so many times as long as one's own is none: nobody trains that far from one head in one turn."""
STRIDES = (1.0, 1.5, 2.0, 3.0)
"""How far the head is moved along the mean of the updates, which is shorter than each of them: what gains most."""
FINE = 10**9
"""Parts of the largest weight in which shares are reckoned."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge."""

    weights: dict[str, Tensor]
    shares: tuple[Ppm, ...]
    """One's own first; together 1,000,000."""


def merge(
    head: Weights, own: Weights, updates: Sequence[Weights | None], gain: Callable[[Weights], float]
) -> Merged:
    """The head, moved by the mean of all updates, each weighed by what it gains alone.

    updates: None for one that could not be read. gain: of weights over the head, on the merger's own data; higher is
    better, 0 no better. No update weighs more than the median of those that gain anything, nor is it longer than
    one's own: the merger's own gains most on the data it was fitted to. Where none gains, one's own is taken.
    """
    steps = [_clipped(head, each, _length(head, own)) for each in (own, *updates)]
    gains = [0.0 if step is None else _finite(gain(_moved(head, step))) for step in steps]
    weights = trusted(gains)
    if not any(weights):
        return Merged(dict(own), shares_of([0] * len(weights)))
    total = sum(weights)
    step = {name: torch.zeros_like(head[name], dtype=torch.float64) for name in head}
    for weight, each in zip(weights, steps, strict=True):
        if each is not None:
            for name in each:
                step[name] += weight / total * each[name]
    candidates = [_moved(head, step, stride) for stride in STRIDES]
    largest = max(weights)
    shares = shares_of([round(FINE * weight / largest) for weight in weights])
    return Merged(max(candidates, key=lambda each: _finite(gain(each))), shares)


def trusted(gains: Sequence[float]) -> list[float]:
    """The weight of each update by what it gains: nothing for what gains nothing, at most the median of the rest."""
    positive = sorted(gain for gain in gains if gain > 0)
    if not positive:
        return [0.0] * len(gains)
    middle = len(positive) // 2
    most = positive[middle] if len(positive) % 2 else (positive[middle - 1] + positive[middle]) / 2
    return [min(max(gain, 0.0), most) for gain in gains]


def _length(head: Weights, other: Weights) -> float:
    squares = [float((other[name].double() - head[name].double()).square().sum()) for name in sorted(head)]
    return float(sum(squares) ** 0.5)


def _clipped(head: Weights, other: Weights | None, longest: float) -> dict[str, Tensor] | None:
    """The step from the head to other weights, no longer than `longest`; None where there is none to trust."""
    if other is None or set(other) != set(head) or any(other[n].shape != head[n].shape for n in head):
        return None
    length = _length(head, other)
    if not 0 < length <= ENORMOUS * longest:  # also where it is no number
        return None
    scale = min(1.0, longest / length)
    return {name: scale * (other[name].double() - head[name].double()) for name in head}


def _moved(head: Weights, step: Mapping[str, Tensor], stride: float = 1.0) -> dict[str, Tensor]:
    return {name: (head[name].double() + stride * step[name]).to(head[name].dtype) for name in head}


def _finite(gain: float) -> float:
    return gain if torch.isfinite(torch.tensor(gain)) else 0.0
