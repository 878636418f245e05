"""The network: 64 pixels, 128 hidden units, 10 classes, as plain functions of named tensors."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from learners.adam import Adam
from learners.digits.data import CLASSES, PIXELS, Digits
from learners.learner import TensorSpec

HIDDEN = 128
RATE = 1e-3
BATCH = 32
INITIAL_SEED = 20_261
"""Public: every run starts from the same weights."""

Weights = Mapping[str, Tensor]

TENSORS = (
    TensorSpec("hidden.bias", (HIDDEN,), "F32"),
    TensorSpec("hidden.weight", (HIDDEN, PIXELS), "F32"),
    TensorSpec("out.bias", (CLASSES,), "F32"),
    TensorSpec("out.weight", (CLASSES, HIDDEN), "F32"),
)


def initial_weights() -> dict[str, Tensor]:
    """Uniform in +-1/sqrt(inputs), from a generator whose bits no version of torch changes."""
    rng = np.random.Generator(np.random.PCG64(INITIAL_SEED))
    inputs = {"hidden": PIXELS, "out": HIDDEN}
    weights = {}
    for spec in TENSORS:
        bound = 1 / math.sqrt(inputs[spec.name.partition(".")[0]])
        drawn = (rng.uniform(-1.0, 1.0, spec.shape) * bound).astype(np.float32)
        weights[spec.name] = torch.from_numpy(drawn)
    return weights


def logits(weights: Weights, images: Tensor) -> Tensor:
    """(n, 10) for images (n, 64)."""
    hidden = torch.relu(linear(images, weights["hidden.weight"], weights["hidden.bias"]))
    return linear(hidden, weights["out.weight"], weights["out.bias"])


def fit(head: Weights, digits: Digits, seed: int) -> tuple[Weights, float]:
    """The weights after one epoch of Adam from the head's on, and the mean loss over it."""
    adam = Adam(head)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    total = 0.0
    for rows in order.split(BATCH):  # type: ignore[no-untyped-call]
        loss = cross_entropy(logits(adam.weights, digits.images[rows]), digits.labels[rows])
        adam.step(loss, RATE)
        total += float(loss.detach()) * len(rows)
    return adam.fitted(), total / len(digits)


@torch.no_grad()
def probability_of_truth(weights: Weights, digits: Digits) -> Tensor:
    """(n,) float64: the probability given to what each image shows."""
    given = torch.softmax(logits(weights, digits.images), dim=1)
    return given.gather(1, digits.labels[:, None])[:, 0].double()


@torch.no_grad()
def accuracy(weights: Weights, digits: Digits) -> float:
    """The share of images that are recognised."""
    return float((logits(weights, digits.images).argmax(dim=1) == digits.labels).double().mean())
