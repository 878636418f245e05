"""The camera learner: behaviour cloning on private recordings, or DAgger in the track world; votes by paired scores."""

from collections.abc import Mapping
from pathlib import Path

import torch

from learners import weights
from learners.camera.fitting import fit
from learners.camera.options import RecordedOptions, TrackOptions, parse_options
from learners.camera.policy import initial_weights, tensor_specs
from learners.camera.recorded import Recordings
from learners.camera.tracks import CameraTracks
from learners.camera.world import World
from learners.driving.dagger import Schedule
from learners.files import write_whole
from learners.learner import Comparison, LearnerSpec, Training
from learners.paired import paired_by
from protocol.ids import Round


def camera_learner(options: Mapping[str, object], data: Path) -> "CameraLearner":
    """One peer with a camera, real or rendered. Raises LearnerError."""
    parsed = parse_options(options)
    world = Recordings(parsed, data) if isinstance(parsed, RecordedOptions) else CameraTracks(parsed, data)
    return CameraLearner(parsed, world)


class CameraLearner:
    """One peer's frames and policy; implements `learners.learner.Learner`."""

    def __init__(self, options: RecordedOptions | TrackOptions, world: World) -> None:
        """Nothing is read yet: a peer without data can still say what the spec is."""
        torch.set_num_threads(1)  # several learners share a machine
        self._options, self._world = options, world
        # Sizes near each other may have the same tensors, so the size is said.
        scorer = f"{world.scorer} of {options.height}x{options.width}"
        self._spec = LearnerSpec("camera", tensor_specs(options.height, options.width), scorer)

    def describe(self) -> LearnerSpec:
        """The public spec."""
        return self._spec

    def initial(self, out: Path) -> None:
        """Write the weights every run with this spec starts from."""
        write_whole(out, weights.dump(initial_weights(self._spec.tensors)))

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        """Fit the head to the private frames. The same head, round and data give the same bytes on one machine."""
        base = weights.load(head, self._spec)
        seed = self._options.seed * 1_000_003 + round
        lesson = self._world.lesson(base, round, seed)
        schedule = Schedule(steps=self._options.train_steps, batch=self._options.batch)
        candidate, loss = fit(base, lesson.film, schedule, seed, mirror=self._options.mirror)
        write_whole(out, weights.dump(candidate))
        return Training(labels=lesson.fresh, labels_total=lesson.total, loss=loss)

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        """Both on the private validation data, sample by sample."""
        policies = [weights.load(blob, self._spec) for blob in (head, candidate)]
        seen = self._world.judge(policies)
        return paired_by(seen.clusters, seen.scores[0], seen.scores[1])
