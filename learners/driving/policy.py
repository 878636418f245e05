"""The policy: a perceptron of two hidden layers and two outputs, as plain functions.

Weights are a mapping of names to tensors and are never loaded into a live model.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from learners.driving.rays import OBSERVATION
from learners.driving.rollout import Policy
from learners.driving.track import Floats
from learners.learner import TensorSpec

ACTIONS = 2
INITIAL_SEED = 20_261
"""Public: every run starts from the same weights."""

Weights = Mapping[str, Tensor]


def tensor_specs(hidden: int, observation: int = OBSERVATION) -> tuple[TensorSpec, ...]:
    """The tensors of a policy that sees so many numbers, with two hidden layers of `hidden` units, sorted by name."""
    sizes = [observation, hidden, hidden, ACTIONS]
    specs = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        specs.append(TensorSpec(f"layer{layer}.bias", (outputs,), "F32"))
        specs.append(TensorSpec(f"layer{layer}.weight", (outputs, inputs), "F32"))
    return tuple(specs)


def initial_weights(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    """The weights every run starts from: uniform in +-1/sqrt(inputs), from a generator with specified bits.

    torch draws differently from one version to the next; PCG64 and exact arithmetic do not.
    """
    rng = np.random.Generator(np.random.PCG64(INITIAL_SEED))
    inputs = {_layer(spec): spec.shape[1] for spec in specs if spec.name.endswith(".weight")}
    return {spec.name: torch.from_numpy(_uniform(rng, spec.shape, inputs[_layer(spec)])) for spec in specs}


def act(weights: Weights, observations: Tensor) -> Tensor:
    """Actions (..., 2) in [-1, 1] for observations (..., what it sees)."""
    layer = torch.tanh(linear(observations, weights["layer0.weight"], weights["layer0.bias"]))
    layer = torch.tanh(linear(layer, weights["layer1.weight"], weights["layer1.bias"]))
    return torch.tanh(linear(layer, weights["layer2.weight"], weights["layer2.bias"]))


def policy_of(weights: Weights) -> Policy:
    """Weights as a function from observations to actions, numpy in and out, for rollouts."""
    frozen = {name: tensor.detach() for name, tensor in weights.items()}

    def policy(observations: Floats) -> Floats:
        actions: Floats = act(frozen, torch.from_numpy(observations)).numpy()
        return actions

    return policy


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], inputs: int) -> Floats:
    bound = 1 / math.sqrt(inputs)
    drawn: Floats = (rng.uniform(-1.0, 1.0, shape) * bound).astype(np.float32)
    return drawn


def _layer(spec: TensorSpec) -> str:
    return spec.name.partition(".")[0]
