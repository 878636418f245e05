"""Adam (Kingma and Ba, 2015, algorithm 1) on named tensors.

torch.optim would do, but loads its compiler with it: 71 MB in each learner's process, measured with torch 2.13.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """A copy of weights that is being fitted, and the moments of its gradients; one step at a time."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Begin at `weights`, float32, which are left as they are."""
        self._flat = torch.cat([tensor.detach().reshape(-1) for tensor in weights.values()])
        self._first = torch.zeros_like(self._flat)
        self._second = torch.zeros_like(self._flat)
        self._steps = 0
        parts = self._flat.split([tensor.numel() for tensor in weights.values()])  # type: ignore[no-untyped-call]
        self.weights = {
            name: part.view(tensor.shape).detach().requires_grad_()
            for (name, tensor), part in zip(weights.items(), parts, strict=True)
        }
        """What a loss is computed from; changed in place by `step`."""

    def step(self, loss: Tensor, rate: float) -> None:
        """One step down the gradient of a scalar loss that was computed from `weights`."""
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(self.weights.values()))])
        self._steps += 1
        self._first.lerp_(gradient, 1 - _BETA1)
        self._second.lerp_(gradient.square_(), 1 - _BETA2)
        size = rate / (1 - _BETA1**self._steps)
        scale = (self._second / (1 - _BETA2**self._steps)).sqrt_().add_(_EPSILON)
        with torch.no_grad():
            self._flat.addcdiv_(self._first, scale, value=-size)

    def fitted(self) -> dict[str, Tensor]:
        """The weights as they are now, detached."""
        return {name: tensor.detach().clone() for name, tensor in self.weights.items()}
