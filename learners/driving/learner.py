"""The driving learner: DAgger on private roads, votes by paired laps on others."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from learners import weights
from learners.driving.dagger import Schedule, fit
from learners.driving.dataset import Dataset
from learners.driving.options import Learning, parse_options
from learners.driving.policy import Weights, initial_weights, policy_of, tensor_specs
from learners.driving.track import MAX_PEER
from learners.driving.world import Laps, TrackWorld, World
from learners.files import write_whole
from learners.learner import BadWeights, Comparison, LearnerSpec, Merging, Training
from learners.paired import paired
from learners.shares import shares_of
from protocol.ids import Digest, Round, digest_of
from protocol.messages import Choice
from protocol.rules import MIN_DEADBAND, choice_for

CLEARLY = 2
"""Standard errors of a difference on public roads, to vote by it."""

_log = logging.getLogger(__name__)


def driving_learner(options: Mapping[str, object], data: Path) -> "DrivingLearner":
    """One peer on the tracks of its family. Raises LearnerError."""
    parsed = parse_options(options)
    return DrivingLearner("driving", parsed, TrackWorld(parsed), data)


class DrivingLearner:
    """One peer's roads, demonstrations and policy; implements `learners.learner.Merger`."""

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
        seed = self._seed(round)
        labels = self._dataset.of(round)
        if labels is None:
            driver = policy_of(base) if len(self._dataset) else None
            known = self._dataset.until(round)
            labels = self._world.collect(driver, self._options.labels_per_turn, seed, known)
            if len(labels):
                self._dataset.append(round, labels)
        schedule = Schedule(steps=self._options.train_steps)
        rehearsal = self._world.rehearse([policy_of(base)], seed).demonstrations
        known = self._dataset.until(round)
        candidate, loss = fit(base, known, rehearsal, schedule, seed)
        write_whole(out, weights.dump(candidate))
        return Training(labels=len(labels), labels_total=len(known), loss=loss)

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        """Teach one's own policy what the others' do well on public roads (see `rehearsal`), and write it.

        No weight of theirs enters the candidate. Shares follow from how much further than the head each came.
        """
        before, mine = weights.load(head, self._spec), weights.load(own, self._spec)
        theirs = [self._update(path) for path in updates]
        teachers = [policy_of(each) for each in (mine, *theirs) if each is not None]
        seed = self._seed(round, merging=True)
        drives = self._world.rehearse(teachers, seed, watched=[policy_of(before)])
        *driven, known = drives.progress
        schedule = Schedule(steps=self._options.merge_steps)
        candidate, _ = fit(mine, self._dataset.until(round), drives.demonstrations, schedule, seed)
        write_whole(out, weights.dump(candidate))
        worth = iter([_worth(known, progress) for progress in driven])
        return Merging(shares_of([0 if each is None else next(worth) for each in (mine, *theirs)]))

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """Lap progress of both on the private validation roads, from the same starts.

        Where that says nothing, on public ones, if there it is clear: who is served well already and abstains on all
        that is left would leave two who gain, or are harmed, to two who say the opposite.
        """
        (before_name, before), (after_name, after) = self._laps(head), self._laps(candidate)
        self._driven = {before_name: before, after_name: after}
        found = paired(before, after)
        if before_name == after_name or choice_for(found.gain, found.error) is not Choice.ABSTAIN:
            return found
        policies = [policy_of(weights.load(blob, self._spec)) for blob in (head, candidate)]
        public = paired(*self._world.rehearse(policies, self._seed(round)).progress)
        return public if abs(public.gain) > max(MIN_DEADBAND, CLEARLY * public.error) else found

    def _update(self, path: Path) -> Weights | None:
        try:
            return weights.load(path, self._spec)
        except BadWeights as fault:
            _log.info("an update is left out: %s", fault)
            return None

    def _seed(self, round: Round, merging: bool = False) -> int:
        peer = self._options.seed + (
            MAX_PEER if merging else 0
        )  # other roads than the updates were trained on
        return peer * 1_000_003 + round

    def _laps(self, blob: Path) -> tuple[Digest, Laps]:
        """The name of a blob and its validation laps; those of the last comparison are not driven again."""
        policy = weights.load(blob, self._spec)
        name = digest_of(weights.dump(policy))  # the blob's own digest: its bytes are canonical
        if name in self._driven:
            return name, self._driven[name]
        return name, self._world.laps(policy_of(policy))


def _worth(head: Laps, update: Laps) -> int:
    """What an update is worth, ppm: how much further it came, less what may be chance; nothing without a lap."""
    if not (update == 1).any():
        return 0
    found = paired(head, update)
    return found.gain - found.error
