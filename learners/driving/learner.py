"""The driving learner: DAgger on private tracks, votes by paired laps on others."""

from collections.abc import Mapping
from pathlib import Path

import torch

from learners import weights
from learners.driving.dagger import Schedule, collect, fit
from learners.driving.dataset import Dataset
from learners.driving.options import parse_options
from learners.driving.policy import initial_weights, policy_of, tensor_specs
from learners.driving.rehearsal import rehearse
from learners.driving.score import SCORER, Laps, drive
from learners.driving.track import make_tracks, stack, training_seeds, validation_seeds
from learners.files import write_whole
from learners.learner import Comparison, LearnerSpec, Training
from learners.paired import paired
from protocol.ids import Digest, Round, digest_of

_VALIDATION_START = 1


class DrivingLearner:
    """One peer's tracks, demonstrations and policy; implements `learners.learner.Learner`."""

    def __init__(self, options: Mapping[str, object], data: Path) -> None:
        """Make the private tracks and read the demonstrations in the folder `data`. Raises LearnerError."""
        torch.set_num_threads(1)  # several learners share a machine, and the matrices are small
        self._options = parse_options(options)
        family, seed = self._options.track_family(), self._options.seed
        self._training = stack(make_tracks(training_seeds(seed, self._options.train_tracks), family))
        self._validation = stack(make_tracks(validation_seeds(seed, self._options.validation_tracks), family))
        self._dataset = Dataset(data / "demonstrations")
        self._driven: dict[Digest, Laps] = {}
        self._spec = LearnerSpec("driving", tensor_specs(self._options.hidden), SCORER)

    def describe(self) -> LearnerSpec:
        """The public spec."""
        return self._spec

    def initial(self, out: Path) -> None:
        """Write the weights every run with this spec starts from."""
        write_whole(out, weights.dump(initial_weights(self._options.hidden)))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        """Collect this round's labels, unless an earlier attempt did, and fit the head to all labels so far.

        The same head, round and data give the same bytes on the same machine.
        """
        base = weights.load(head, self._spec)
        seed = self._options.seed * 1_000_003 + round
        labels = self._dataset.of(round)
        if labels is None:
            driver = policy_of(base) if len(self._dataset) else None
            labels = collect(driver, self._training, self._options.labels_per_turn, seed)
            self._dataset.append(round, labels)
        schedule = Schedule(steps=self._options.train_steps)
        rehearsal = rehearse(policy_of(base), seed)
        candidate, loss = fit(base, self._dataset.all(), rehearsal, schedule, seed)
        write_whole(out, weights.dump(candidate))
        return Training(labels=len(labels), labels_total=len(self._dataset), loss=loss)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """Lap progress of both on the private validation tracks, from the same starts."""
        (before_name, before), (after_name, after) = self._laps(head), self._laps(candidate)
        self._driven = {before_name: before, after_name: after}
        return paired(before, after)

    def _laps(self, blob: Path) -> tuple[Digest, Laps]:
        """The name of a blob and its validation laps; those of the last comparison are not driven again."""
        policy = weights.load(blob, self._spec)
        name = digest_of(weights.dump(policy))  # the blob's own digest: its bytes are canonical
        if name in self._driven:
            return name, self._driven[name]
        return name, drive(policy, self._validation, _VALIDATION_START, self._options.validation_starts)
