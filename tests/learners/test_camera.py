"""The camera learner: from pictures to steering, and from recordings to votes."""

import hashlib
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from learners import weights
from learners.camera.film import Columns, Film, film_of
from learners.camera.fitting import fit
from learners.camera.learner import CameraLearner, camera_learner
from learners.camera.pictures import Lens, png_of, seen_in
from learners.camera.policy import Sight, act, actions_of, initial_weights, tensor_specs
from learners.camera.recorded import clusters_of, steering_scores
from learners.camera.tracks import collect
from learners.data.dataset import Dataset, open_dataset
from learners.data.episode import DataError, Episode, Features, ImageShape
from learners.driving import expert
from learners.driving.dagger import Schedule
from learners.driving.family import FAMILIES
from learners.driving.track import make_tracks, stack
from learners.driving.view import Camera
from learners.learner import BadWeights, LearnerError
from learners.registry import find_learner
from learners.wanted import GivenUp, wanted_while
from protocol.ids import Ppm, Round
from protocol.messages import Choice
from protocol.rules import choice_for

CAMERA = Camera(32, 64)
LENS = Lens(32, 64)
SPECS = tensor_specs(32, 64)
COLUMNS = Columns("steering", "throttle", "speed", 25.0)
TRACKS = stack(make_tracks(range(6), FAMILIES["gentle-narrow"]))


def _drive(seed: int, frames: int) -> Episode:
    return collect(expert.drive, TRACKS, CAMERA, frames, seed)


def _features(**changes: object) -> Features:
    known = {
        "fps": 20,
        "states": ("speed",),
        "actions": ("steering", "throttle"),
        "image": ImageShape(32, 64, 1),
        "validation": Ppm(500_000),
    }
    return Features(**{**known, **changes})  # type: ignore[arg-type]


def _recorded(folder: Path, episodes: int, frames: int, **changes: object) -> Dataset:
    dataset = open_dataset(folder / "dataset", create=_features(**changes))
    dataset.extend([_drive(seed, frames) for seed in range(episodes)])
    return dataset


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[CameraLearner, Path]:
    """A learner after one turn on a small recording; `head` and `candidate` lie in the folder."""
    folder = tmp_path_factory.mktemp("taught")
    _recorded(folder, episodes=4, frames=60)
    learner = camera_learner({"train_steps": 120}, folder)
    learner.initial(folder / "head")
    learner.propose(folder / "head", Round(1), folder / "candidate")
    return learner, folder


def test_the_initial_weights_are_the_same_bytes_everywhere() -> None:
    blob = weights.dump(initial_weights(SPECS))
    assert (
        hashlib.sha256(blob).hexdigest() == "bc635d339f76517c0e9b08c24523d6e171316b14faf1612f35212600a43d8cc1"
    )
    assert 100_000 < len(blob) < 400_000


def test_the_policy_is_the_network_it_says() -> None:
    head = initial_weights(SPECS)
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 12, 5, 2), torch.nn.ReLU(), torch.nn.Conv2d(12, 20, 5, 2), torch.nn.ReLU()),
        *(torch.nn.Conv2d(20, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.ReLU()),
    )
    network.load_state_dict(
        {f"{2 * i}.{kind}": head[f"conv{i}.{kind}"] for i in range(4) for kind in ("weight", "bias")}
    )
    draw = torch.Generator().manual_seed(1)
    images, speeds = (
        torch.randint(256, (5, 32, 64), dtype=torch.uint8, generator=draw),
        torch.rand(5, generator=draw),
    )
    found = torch.cat([network((images[:, None].float() - 128) / 64).flatten(1), speeds[:, None]], dim=1)
    for index in range(3):
        found = found @ head[f"dense{index}.weight"].T + head[f"dense{index}.bias"]
        found = found.relu() if index < 2 else found.tanh()
    torch.testing.assert_close(act(head, images, speeds), found)
    assert np.allclose(
        actions_of(head, Sight(images.numpy(), speeds.numpy())), found.detach().numpy(), atol=1e-6
    )


@pytest.mark.parametrize("size", [(32, 32), (33, 100), (66, 200), (128, 256)])
def test_other_sizes_of_image_have_a_policy_too(size: tuple[int, int]) -> None:
    head = initial_weights(tensor_specs(*size))
    sight = Sight(np.zeros((2, *size), np.uint8), np.zeros(2, np.float32))
    assert actions_of(head, sight).shape == (2, 2)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_picture_of_the_right_size_is_seen_to_the_bit(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (32, 64), np.uint8)
    assert np.array_equal(seen_in(png_of(image), LENS), image)


def _jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_a_large_colour_picture_is_made_small_and_grey() -> None:
    picture = np.zeros((160, 320, 3), np.uint8)
    picture[:80] = (0, 0, 255)  # sky
    picture[80:, :160] = (255, 255, 255)
    seen = seen_in(_jpeg(picture), LENS)
    assert seen.shape == (32, 64)
    assert np.abs(seen[:15].astype(int) - 29).max() < 8  # how bright blue is
    assert seen[18:, :30].min() > 240
    assert seen[18:, 34:].max() < 15
    below = seen_in(_jpeg(picture), Lens(32, 64, crop_top=0.5))
    assert below[2:, :30].min() > 240
    above = seen_in(_jpeg(picture), Lens(32, 64, crop_bottom=0.5))
    assert above[:30].max() < 40


def test_a_damaged_picture_is_one_line() -> None:
    whole = _jpeg(np.zeros((160, 320, 3), np.uint8))
    noise = png_of(np.random.default_rng(1).integers(0, 256, (32, 64), np.uint8))
    for data in (b"", b"GIF89a", whole[: len(whole) // 2], noise[: len(noise) // 2]):
        with pytest.raises(DataError) as caught:
            seen_in(data, LENS)
        assert "\n" not in str(caught.value)


def test_a_film_is_what_was_recorded(tmp_path: Path) -> None:
    dataset = _recorded(tmp_path, episodes=4, frames=9)
    film = film_of(dataset, "train", 1000, LENS, COLUMNS)
    episodes = list(dataset.train())
    assert len(film) == 18
    assert np.array_equal(film.actions, np.concatenate([e.actions for e in episodes]))
    assert np.allclose(film.sight.speeds * 25, np.concatenate([e.states[:, 0] for e in episodes]))
    pictures = [seen_in(image, LENS) for e in episodes for image in e.images or ()]
    assert np.array_equal(film.sight.images, np.stack(pictures))
    assert len(np.unique(film.episodes)) == 2
    assert np.allclose(film.seconds, np.concatenate([e.timestamps for e in episodes]))


def test_of_a_long_film_a_fixed_sample_is_held(tmp_path: Path) -> None:
    dataset = _recorded(tmp_path, episodes=4, frames=9)
    every = film_of(dataset, "train", 1000, LENS, COLUMNS)
    some, again = (film_of(dataset, "train", 7, LENS, COLUMNS) for _ in range(2))
    assert len(some) == 7
    assert np.array_equal(some.sight.images, again.sight.images)
    rows = [int(np.flatnonzero((every.actions == action).all(axis=1))[0]) for action in some.actions]
    assert rows == sorted(set(rows))
    assert np.array_equal(every.sight.images[rows], some.sight.images)


def test_what_a_recording_lacks_is_not_learned(tmp_path: Path) -> None:
    dataset = open_dataset(
        tmp_path / "dataset", create=_features(states=(), actions=("steering",), validation=Ppm(0))
    )
    drive = _drive(1, 30)
    still = np.zeros((30, 0), np.float32)
    dataset.append(Episode(still, drive.actions[:, :1], drive.interventions, drive.timestamps, drive.images))
    film = film_of(dataset, "train", 1000, LENS, COLUMNS)
    assert film.actions.shape == (30, 1)
    assert not film.sight.speeds.any()
    fitted, _ = fit(initial_weights(SPECS), film, Schedule(steps=5), 1, mirror=True)
    assert torch.equal(
        fitted["dense2.weight"][1], initial_weights(SPECS)["dense2.weight"][1]
    )  # the throttle's


@pytest.mark.slow
def test_a_small_recording_is_learned_by_heart() -> None:
    drive = _drive(3, 40)
    images = np.stack([seen_in(image, LENS) for image in drive.images or ()])
    sight = Sight(images, drive.states[:, 0] / np.float32(25))
    film = Film(sight, drive.actions, np.zeros(40, np.int64), drive.timestamps)
    fitted, loss = fit(initial_weights(SPECS), film, Schedule(steps=200), 1, mirror=False)
    assert loss < 0.005
    assert np.abs(actions_of(fitted, sight)[:, 0] - drive.actions[:, 0]).mean() < 0.03


def test_a_mirrored_road_is_learned_beside_the_one_that_was_seen() -> None:
    images = np.full((8, 32, 64), 120, np.uint8)
    images[:, 8:, :20] = 60  # always to the left
    film = Film(
        Sight(images, np.zeros(8, np.float32)),
        np.full((8, 1), 0.5, np.float32),
        np.zeros(8, np.int64),
        np.zeros(8),
    )
    other = Sight(np.ascontiguousarray(images[:, :, ::-1]), film.sight.speeds)
    for mirror, wanted in ((True, -0.5), (False, 0.5)):
        fitted, _ = fit(initial_weights(SPECS), film, Schedule(steps=60, batch=16), 1, mirror=mirror)
        assert actions_of(fitted, film.sight)[0, 0] == pytest.approx(0.5, abs=0.1)
        assert actions_of(fitted, other)[0, 0] == pytest.approx(wanted, abs=0.1) or not mirror
    assert (film.actions == 0.5).all()  # the film itself is left as it is


def test_the_score_of_a_frame_falls_with_the_error() -> None:
    steering = np.array([0.1, 0.3, -1.0, 1.0], np.float32)
    scores = steering_scores(steering, np.array([0.1, 0.1, 0.0, -1.0], np.float32))
    assert np.allclose(scores, [1.0, 0.8, 0.0, 0.0])


def test_frames_of_few_drives_are_clustered_by_blocks_of_time() -> None:
    seconds = np.tile(np.arange(0, 30, 0.5), 2)
    episodes = np.arange(2).repeat(60)
    found = clusters_of(episodes, seconds)
    assert len(np.unique(found)) == 6
    assert all(len(set(found[i : i + 20])) == 1 for i in range(0, 120, 20))
    many = np.arange(8).repeat(10)
    assert np.array_equal(clusters_of(many, np.tile(np.arange(0.0, 100, 10), 8)), many)


def test_the_better_of_two_is_preferred_and_a_tie_abstained_on(taught: tuple[CameraLearner, Path]) -> None:
    learner, folder = taught
    seen = learner.score(folder / "head", folder / "candidate", Round(1))
    assert seen.gain > 0
    assert choice_for(seen.gain, seen.error) is Choice.APPROVE
    assert seen.samples == 120
    worse = learner.score(folder / "candidate", folder / "head", Round(2))
    assert (worse.gain, worse.error) == (-seen.gain, seen.error)
    assert choice_for(worse.gain, worse.error) is Choice.REJECT
    same = learner.score(folder / "candidate", folder / "candidate", Round(3))
    assert (same.gain, same.error) == (0, 0)
    assert choice_for(same.gain, same.error) is Choice.ABSTAIN


def test_the_same_head_and_data_give_the_same_bytes(
    taught: tuple[CameraLearner, Path], tmp_path: Path
) -> None:
    _, folder = taught
    again = camera_learner({"train_steps": 120, "dataset": str(folder / "dataset")}, tmp_path)
    training = again.propose(folder / "head", Round(1), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (folder / "candidate").read_bytes()
    assert (training.labels, training.labels_total) == (0, 120)
    again.propose(folder / "head", Round(2), tmp_path / "later")
    assert (tmp_path / "later").read_bytes() != (folder / "candidate").read_bytes()


def test_episodes_that_are_added_meanwhile_count(tmp_path: Path) -> None:
    dataset = _recorded(tmp_path, episodes=4, frames=10)
    learner = camera_learner({"train_steps": 1}, tmp_path)
    learner.initial(tmp_path / "head")
    assert learner.score(tmp_path / "head", tmp_path / "head", Round(1)).samples == 20
    dataset.extend([_drive(seed, 10) for seed in (11, 12)])
    assert learner.score(tmp_path / "head", tmp_path / "head", Round(2)).samples == 30
    assert learner.propose(tmp_path / "head", Round(3), tmp_path / "out").labels_total == 30


def test_weights_of_strangers_are_refused(taught: tuple[CameraLearner, Path], tmp_path: Path) -> None:
    learner, folder = taught
    head = initial_weights(SPECS)
    blobs = {
        "cut": weights.dump(head)[:-1],
        "other size": weights.dump(initial_weights(tensor_specs(64, 64))),
        "not finite": weights.dump({**head, "conv0.bias": torch.full((12,), torch.nan)}),
        "none": b"",
        "half": weights.dump({name: tensor.half() for name, tensor in head.items()}),
    }
    for data in blobs.values():
        bad = tmp_path / "bad"
        bad.write_bytes(data)
        with pytest.raises(BadWeights):
            learner.score(folder / "head", bad, Round(1))
        with pytest.raises(BadWeights):
            learner.propose(bad, Round(1), tmp_path / "out")


def test_data_that_cannot_be_learned_from_are_one_line(tmp_path: Path) -> None:
    def refusal(folder: Path, options: dict[str, object] | None = None) -> str:
        learner = camera_learner({"train_steps": 1, **(options or {})}, folder)
        learner.initial(tmp_path / "head")
        with pytest.raises(LearnerError) as caught:
            learner.score(tmp_path / "head", tmp_path / "head", Round(1))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "holds no dataset" in refusal(tmp_path / "none")
    assert "roundabout data import" in refusal(tmp_path / "none")
    open_dataset(tmp_path / "empty" / "dataset", create=_features())
    assert "none of the 0 episodes" in refusal(tmp_path / "empty")
    _recorded(tmp_path / "untested", episodes=2, frames=5, validation=Ppm(0))
    assert "is for validation; record more drives" in refusal(tmp_path / "untested")
    assert "has no action 'angle' but steering, throttle" in refusal(
        tmp_path / "untested", {"steering": "angle"}
    )
    open_dataset(tmp_path / "blind" / "dataset", create=_features(image=None))
    assert "has no pictures" in refusal(tmp_path / "blind")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 16}, "camera option 'height'"),
        ({"width": 5000}, "camera option 'width'"),
        ({"frames": 100_000, "height": 128, "width": 256}, "more than 2,147,483,648 bytes of memory"),
        ({"validation_frames": 100_000, "height": 128, "width": 256}, "validation_frames x height x width"),
        ({"world": "moon"}, "camera option 'world'"),
        ({"colour": "red"}, "camera option 'colour': Extra inputs are not permitted"),
        ({"crop_top": 0.6, "crop_bottom": 0.6}, "leave less than a tenth"),
        ({"world": "tracks"}, "camera option 'family': Field required"),
        ({"world": "tracks", "family": "alpine"}, "camera option 'family.*': unknown track family 'alpine'"),
        ({"world": "tracks", "family": "medium", "dataset": "x"}, "camera option 'dataset'"),
    ],
)
def test_options_are_refused_in_one_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(LearnerError, match=message) as caught:
        camera_learner(options, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_learner_is_found_where_the_distribution_declares_it() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    declared = project["project"]["entry-points"]["roundabout.learners"]["camera"]
    assert find_learner(declared) is camera_learner


def test_work_that_nobody_waits_for_ends(taught: tuple[CameraLearner, Path], tmp_path: Path) -> None:
    _, folder = taught
    again = camera_learner({"train_steps": 1_000_000, "dataset": str(folder / "dataset")}, tmp_path)
    asked = iter([True] * 6)
    with pytest.raises(GivenUp), wanted_while(lambda: next(asked, False)):
        again.propose(folder / "head", Round(1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
