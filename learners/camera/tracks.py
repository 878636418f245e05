"""The track world seen through a camera: the expert's labels on private tracks, laps on others."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learners import weights
from learners.camera.film import Columns, film_of
from learners.camera.options import TrackOptions
from learners.camera.pictures import Lens, png_of
from learners.camera.policy import Floats, Sight, Weights, actions_of
from learners.camera.world import Judgement, Lesson
from learners.data.dataset import Dataset, open_dataset
from learners.data.episode import Episode, Features, ImageShape
from learners.driving import car, expert
from learners.driving.dagger import DRIVE_STEPS, LANES
from learners.driving.rollout import Pilot, laps
from learners.driving.track import Tracks, make_tracks, stack, training_seeds, validation_seeds
from learners.driving.view import Camera, view
from learners.wanted import check_wanted
from protocol.ids import Digest, Ppm, Round, digest_of

_VALIDATION_START = 1
_COLUMNS = Columns("steering", "throttle", "speed", car.MAX_SPEED)


def by_camera(policy: Weights, camera: Camera) -> Pilot:
    """The pilot that acts on what its camera shows, and its speed."""

    def pilot(lanes: car.Lanes, tracks: Tracks) -> Floats:
        check_wanted()
        return actions_of(policy, Sight(view(lanes, tracks, camera), lanes.speed / np.float32(car.MAX_SPEED)))

    return pilot


def collect(pilot: Pilot, tracks: Tracks, camera: Camera, labels: int, seed: int) -> Episode:
    """Exactly `labels` states that driving led to, each with its view and the expert's action, in order of time.

    As `driving.dagger.collect`: states are drawn from long drives of several cars, so these are not the frames
    of one drive.
    """
    rng = np.random.default_rng(seed)
    lanes = car.start(tracks, rng.integers(0, len(tracks), LANES), rng)
    steps = max(DRIVE_STEPS, math.ceil(labels / LANES))
    chosen = np.zeros(steps * LANES, bool)
    chosen[rng.choice(steps * LANES, labels, replace=False)] = True
    speeds, actions, times = [], [], []
    images: list[bytes] = []
    for index, here in enumerate(chosen.reshape(steps, LANES)):
        if here.any():
            speeds.append(lanes.speed[here])
            actions.append(expert.drive(lanes, tracks)[here])
            times.append(np.full(here.sum(), index * car.STEP_SECONDS))
            images += map(png_of, view(lanes.keep(here), tracks, camera))
        lanes = car.step(lanes, tracks, pilot(lanes, tracks))
        is_over = car.is_off(lanes, tracks) | car.has_lapped(lanes, tracks)
        if is_over.any():
            lanes = lanes.replaced(is_over, car.start(tracks, rng.integers(0, len(tracks), LANES), rng))
    return Episode(
        states=np.concatenate(speeds)[:, None].astype(np.float32),
        actions=np.concatenate(actions).astype(np.float32),
        interventions=np.zeros(labels, bool),
        timestamps=np.concatenate(times),
        images=tuple(images),
    )


class CameraTracks:
    """One peer's tracks and what it was shown on them; implements `world.World`."""

    scorer = "lap-progress/1"
    """The score of a lap is its progress; see `rollout.laps`."""

    def __init__(self, options: TrackOptions, data: Path) -> None:
        """Make the private tracks; data: the learner's folder, where the dataset lies. Raises LearnerError."""
        family, seed = options.track_family(), options.seed
        self._options, self._data = options, data
        self._training = stack(make_tracks(training_seeds(seed, options.train_tracks), family))
        self._validation = stack(make_tracks(validation_seeds(seed, options.validation_tracks), family))
        self._camera = Camera(options.height, options.width)
        self._judged: dict[Digest, NDArray[np.float64]] = {}

    def lesson(self, head: Weights, round: Round, seed: int) -> Lesson:
        """This round's labels, unless an earlier attempt collected them, and all before. Raises LearnerError.

        The first time the expert drives, as the head cannot yet.
        """
        lens = Lens(self._camera.height, self._camera.width)
        source = f"round-{round:09d}"
        dataset = self._opened()
        if all(entry.source != source for entry in dataset.entries):
            pilot = by_camera(head, self._camera) if len(dataset) else expert.drive
            fresh = collect(pilot, self._training, self._camera, self._options.labels_per_turn, seed)
            dataset.append(fresh, task="lap", source=source)
        film = film_of(dataset, "train", self._options.frames, lens, _COLUMNS)
        return Lesson(film, fresh=self._options.labels_per_turn, total=dataset.info.train_frames)

    def judge(self, policies: Sequence[Weights]) -> Judgement:
        """The progress of each lap, driven once for two judgements in a row; laps of one track are a cluster."""
        names = [digest_of(weights.dump(policy)) for policy in policies]
        driven = {name: self._judged.get(name) for name in names}
        self._judged = {
            name: self._laps(policy) if (known := driven[name]) is None else known
            for name, policy in zip(names, policies, strict=True)
        }
        scores = np.stack([self._judged[name] for name in names])
        return Judgement(scores, np.arange(scores.shape[1]) % len(self._validation))

    def _laps(self, policy: Weights) -> NDArray[np.float64]:
        starts = self._options.validation_starts
        return laps(by_camera(policy, self._camera), self._validation, _VALIDATION_START, starts)

    def _opened(self) -> Dataset:
        features = Features(
            fps=round(1 / car.STEP_SECONDS),
            states=("speed",),
            actions=("steering", "throttle"),
            image=ImageShape(self._camera.height, self._camera.width, channels=1),
            validation=Ppm(0),  # other tracks are for validation, and driven
        )
        return open_dataset(self._data / "dataset", create=features)
