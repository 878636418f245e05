"""The policy: a small PilotNet (Bojarski et al. 2016), as plain functions of named tensors.

Four convolutions look at a grey image; two dense layers look at what they find and at the speed. The angle of the
wheels is not shown: a policy that sees it learns to go on as before, which is right in nearly every recorded frame and
leaves the road (causal confusion, de Haan et al. 2019).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, linear

from learners.driving.view import Images
from learners.learner import TensorSpec

ACTIONS = 2
"""Steering (left positive) and throttle, in [-1, 1]."""
INITIAL_SEED = 20_261
"""Public: every run starts from the same weights."""
LEAST_SIDE = 32
"""Pixels: what is smaller leaves nothing for the last convolution."""

# Channels in, channels out, side of the kernel, stride.
_CONVOLUTIONS = ((1, 12, 5, 2), (12, 20, 5, 2), (20, 32, 3, 1), (32, 32, 3, 1))
_DENSE = (100, 50)

Weights = Mapping[str, Tensor]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sight:
    """What policies see, of n frames."""

    images: Images
    """(n, height, width)."""
    speeds: Floats
    """(n,): as shares of `car.MAX_SPEED`; 0 where the speed is not known."""

    def __len__(self) -> int:
        return len(self.images)


def tensor_specs(height: int, width: int) -> tuple[TensorSpec, ...]:
    """The tensors of a policy that sees images of this size, sorted by name."""
    specs = []
    for layer, (inputs, outputs, side, stride) in enumerate(_CONVOLUTIONS):
        height, width = ((size - side) // stride + 1 for size in (height, width))
        specs.append(TensorSpec(f"conv{layer}.bias", (outputs,), "F32"))
        specs.append(TensorSpec(f"conv{layer}.weight", (outputs, inputs, side, side), "F32"))
    units = _CONVOLUTIONS[-1][1] * height * width + 1  # the speed is one more
    for layer, outputs in enumerate((*_DENSE, ACTIONS)):
        specs.append(TensorSpec(f"dense{layer}.bias", (outputs,), "F32"))
        specs.append(TensorSpec(f"dense{layer}.weight", (outputs, units), "F32"))
        units = outputs
    return tuple(specs)


def initial_weights(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    """The weights every run starts from: uniform in +-sqrt(3 / inputs), biases 0, from specified bits.

    Wider than the perceptron's: the signal of an image would fade in six narrow layers.
    """
    rng = np.random.Generator(np.random.PCG64(INITIAL_SEED))
    weights = {}
    for spec in specs:
        inputs = math.prod(spec.shape[1:])
        bound = math.sqrt(3 / inputs) if len(spec.shape) > 1 else 0.0
        drawn = (rng.uniform(-1.0, 1.0, spec.shape) * bound).astype(np.float32)
        weights[spec.name] = torch.from_numpy(drawn)
    return weights


def act(weights: Weights, images: Tensor, speeds: Tensor) -> Tensor:
    """Actions (n, 2) in [-1, 1] for grey images (n, height, width) uint8 and speeds (n,)."""
    layer = (images[:, None].float() - 128) / 64
    for index, (_, _, _, stride) in enumerate(_CONVOLUTIONS):
        layer = conv2d(layer, weights[f"conv{index}.weight"], weights[f"conv{index}.bias"], stride).relu()
    layer = torch.cat([layer.flatten(1), speeds[:, None]], dim=1)
    for index in range(len(_DENSE)):
        layer = linear(layer, weights[f"dense{index}.weight"], weights[f"dense{index}.bias"]).relu()
    last = len(_DENSE)
    return linear(layer, weights[f"dense{last}.weight"], weights[f"dense{last}.bias"]).tanh()


_TOGETHER = 256  # frames that are looked at in one batch, so that memory does not grow with their number


@torch.no_grad()
def actions_of(weights: Weights, sight: Sight) -> Floats:
    """What a policy does in each frame: (n, 2)."""
    parts = [
        act(
            weights,
            torch.from_numpy(sight.images[first : first + _TOGETHER]),
            torch.from_numpy(sight.speeds[first : first + _TOGETHER]),
        ).numpy()
        for first in range(0, len(sight), _TOGETHER)
    ]
    actions: Floats = np.concatenate(parts) if parts else np.zeros((0, ACTIONS), np.float32)
    return actions
