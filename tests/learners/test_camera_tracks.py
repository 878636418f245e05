"""The camera learner in the track world: what it is shown there, and the laps it drives."""

from pathlib import Path

import numpy as np
import pytest

from learners import weights
from learners.camera.learner import camera_learner
from learners.camera.tracks import by_camera, collect
from learners.driving import expert
from learners.driving.family import FAMILIES
from learners.driving.rollout import laps
from learners.driving.track import held_out_seeds, make_tracks, stack
from learners.driving.view import Camera
from learners.learner import LearnerError
from protocol.ids import Round
from protocol.messages import Choice
from protocol.rules import choice_for

CAMERA = Camera(32, 64)
TRACKS = stack(make_tracks(range(6), FAMILIES["gentle-narrow"]))


def test_collecting_labels_exactly_the_budget_with_the_experts_actions() -> None:
    for labels in (1, 250, 3201):
        seen = collect(expert.drive, TRACKS, CAMERA, labels, seed=4)
        assert len(seen) == labels == len(set(seen.images or ()))
        assert (np.diff(seen.timestamps) >= 0).all()
        assert np.abs(seen.actions).max() <= 1


TRACK_OPTIONS: dict[str, object] = {
    "world": "tracks",
    "family": "gentle-wide",
    "seed": 1,
    "train_steps": 150,
    "labels_per_turn": 200,
    "validation_tracks": 8,
    "validation_starts": 2,
}


def test_a_camera_policy_learns_to_drive_laps(tmp_path: Path) -> None:
    learner = camera_learner(TRACK_OPTIONS, tmp_path)
    blobs = [tmp_path / f"blob-{turn}" for turn in range(4)]
    learner.initial(blobs[0])
    for turn in (1, 2, 3):
        learner.propose(blobs[turn - 1], Round(turn), blobs[turn])
    seen = learner.score(blobs[0], blobs[3], Round(4))
    assert seen.head < 200_000
    assert seen.candidate > 950_000
    assert choice_for(seen.gain, seen.error) is Choice.APPROVE
    assert seen.samples == 16
    fresh = stack(make_tracks(held_out_seeds(20), FAMILIES["gentle-wide"]))
    policy = weights.load(blobs[3], learner.describe())
    assert (laps(by_camera(policy, CAMERA), fresh, 7) == 1.0).mean() >= 0.9


def test_a_turn_on_the_tracks_taken_again_reuses_its_labels(tmp_path: Path) -> None:
    options = {**TRACK_OPTIONS, "train_steps": 3}
    learner = camera_learner(options, tmp_path)
    learner.initial(tmp_path / "head")
    for turn in (1, 2):
        learner.propose(tmp_path / "head", Round(turn), tmp_path / str(turn))
    training = camera_learner(options, tmp_path).propose(tmp_path / "head", Round(2), tmp_path / "again")
    assert (training.labels, training.labels_total) == (200, 400)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "2").read_bytes()
    other = camera_learner({**options, "height": 48}, tmp_path)
    other.initial(tmp_path / "tall")
    with pytest.raises(LearnerError, match="holds a dataset whose image is"):
        other.propose(tmp_path / "tall", Round(3), tmp_path / "out")


@pytest.mark.slow
def test_a_camera_policy_learns_to_drive_harder_tracks(tmp_path: Path) -> None:
    options = {**TRACK_OPTIONS, "family": "tight-narrow", "train_steps": 600, "labels_per_turn": 250}
    learner = camera_learner(options, tmp_path)
    head = tmp_path / "0"
    learner.initial(head)
    for turn in range(1, 7):
        learner.propose(head, Round(turn), tmp_path / str(turn))
        head = tmp_path / str(turn)
    fresh = stack(make_tracks(held_out_seeds(40), FAMILIES["tight-narrow"]))
    policy = weights.load(head, learner.describe())
    assert (laps(by_camera(policy, CAMERA), fresh, 7) == 1.0).mean() >= 0.9
