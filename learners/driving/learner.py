"""The driving learner: DAgger on private roads, votes by paired laps on others."""

from collections.abc import Mapping
from pathlib import Path

import torch

from learners import weights
from learners.driving.dagger import Schedule, fit
from learners.driving.dataset import Dataset
from learners.driving.options import Learning, parse_options
from learners.driving.policy import initial_weights, policy_of, tensor_specs
from learners.driving.world import Laps, TrackWorld, World
from learners.files import write_whole
from learners.learner import Comparison, LearnerSpec, Training
from learners.paired import paired
from protocol.ids import Digest, Round, digest_of


def driving_learner(options: Mapping[str, object], data: Path) -> "DrivingLearner":
    """One peer on the tracks of its family. Raises LearnerError."""
    parsed = parse_options(options)
    return DrivingLearner("driving", parsed, TrackWorld(parsed), data)


class DrivingLearner:
    """One peer's roads, demonstrations and policy; implements `learners.learner.Learner`."""

    def __init__(self, name: str, options: Learning, world: World, data: Path) -> None:
        """Read the demonstrations in the folder `data`. Raises LearnerError."""
        torch.set_num_threads(1)  # several learners share a machine, and the matrices are small
        self._options, self._world = options, world
        self._dataset = Dataset(data / "demonstrations")
        self._driven: dict[Digest, Laps] = {}
        self._spec = LearnerSpec(name, tensor_specs(options.hidden, world.observation), world.scorer)

    def describe(self) -> LearnerSpec:
        """The public spec."""
        return self._spec

    def initial(self, out: Path) -> None:
        """Write the weights every run with this spec starts from."""
        write_whole(out, weights.dump(initial_weights(self._spec.tensors)))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        """Collect this round's labels, unless an earlier attempt did, and fit the head to all labels up to it.

        The same head, round and data give the same bytes on the same machine.
        """
        base = weights.load(head, self._spec)
        seed = self._options.seed * 1_000_003 + round
        labels = self._dataset.of(round)
        if labels is None:
            driver = policy_of(base) if len(self._dataset) else None
            labels = self._world.collect(driver, self._options.labels_per_turn, seed)
            self._dataset.append(round, labels)
        schedule = Schedule(steps=self._options.train_steps)
        rehearsal = self._world.rehearse(policy_of(base), seed)
        known = self._dataset.until(round)
        candidate, loss = fit(base, known, rehearsal, schedule, seed)
        write_whole(out, weights.dump(candidate))
        return Training(labels=len(labels), labels_total=len(known), loss=loss)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """Lap progress of both on the private validation roads, from the same starts."""
        (before_name, before), (after_name, after) = self._laps(head), self._laps(candidate)
        self._driven = {before_name: before, after_name: after}
        return paired(before, after)

    def _laps(self, blob: Path) -> tuple[Digest, Laps]:
        """The name of a blob and its validation laps; those of the last comparison are not driven again."""
        policy = weights.load(blob, self._spec)
        name = digest_of(weights.dump(policy))  # the blob's own digest: its bytes are canonical
        if name in self._driven:
            return name, self._driven[name]
        return name, self._world.laps(policy_of(policy))
