"""The digits learner: one epoch on private images, votes by the probability of the truth on others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from learners import weights
from learners.digits.data import share_of
from learners.digits.network import TENSORS, Weights, fit, initial_weights, probability_of_truth
from learners.digits.options import parse_options
from learners.files import write_whole
from learners.learner import BadWeights, Comparison, LearnerSpec, Merging, Training
from learners.merging import merge
from learners.paired import paired
from protocol.ids import Round

# Not the accuracy: it moves by whole images, so that small steps in the right direction tie, and learning stalls.
SCORER = "probability-of-truth/1"

_SPEC = LearnerSpec("digits", TENSORS, SCORER)
_PRIME = 1_000_003


class DigitsLearner:
    """One peer's share of the images; implements `learners.learner.Merger`."""

    def __init__(self, options: Mapping[str, object], data: Path) -> None:
        """Read the peer's share; nothing is kept in `data`. Raises LearnerError."""
        torch.set_num_threads(1)  # several learners share a machine, and the matrices are small
        self._options = parse_options(options)
        self._share = share_of(self._options.learner, self._options.of, self._options.seed)

    def describe(self) -> LearnerSpec:
        """The public spec: what every member must agree on."""
        return _SPEC

    def initial(self, out: Path) -> None:
        """Write the weights every run with this spec starts from."""
        write_whole(out, weights.dump(initial_weights()))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        """One epoch on the private training images. The same head, round and data give the same bytes."""
        images = self._share.training
        candidate, loss = fit(weights.load(head, _SPEC), images, self._options.learner * _PRIME + round)
        write_whole(out, weights.dump(candidate))
        return Training(labels=0, labels_total=len(images), loss=loss)

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        """The mean of the updates, each weighed by how much more probable it finds what the training images show."""
        images, start = self._share.training, weights.load(head, _SPEC)
        before = probability_of_truth(start, images).mean()

        def gain(candidate: Weights) -> float:
            return float(probability_of_truth(candidate, images).mean() - before)

        others = [_load(update) for update in updates]
        merged = merge(start, weights.load(own, _SPEC), others, gain)
        write_whole(out, weights.dump(merged.weights))
        return Merging(merged.shares)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """How probable both find what the private validation images show, image by image."""
        images = self._share.validation
        before = probability_of_truth(weights.load(head, _SPEC), images)
        after = probability_of_truth(weights.load(candidate, _SPEC), images)
        return paired(before.numpy(), after.numpy())


def _load(update: Path) -> Weights | None:
    try:
        return weights.load(update, _SPEC)
    except BadWeights:
        return None
