"""Demonstrations survive crashes, DAgger learns, and the paired score is fair."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from learners import weights
from learners.data.dataset import open_dataset
from learners.driving import car, env
from learners.driving.alone import train_alone
from learners.driving.dagger import Schedule, collect, fit
from learners.driving.dataset import EMPTY, Dataset, Demonstrations
from learners.driving.evaluate import measure
from learners.driving.family import FAMILIES
from learners.driving.learner import DrivingLearner, driving_learner
from learners.driving.policy import act, initial_weights, policy_of, tensor_specs
from learners.driving.referee import answer
from learners.driving.rehearsal import STATES, rehearse
from learners.driving.rollout import by_sight, laps
from learners.driving.track import make_tracks, stack, training_seeds
from learners.learner import BadWeights, LearnerError
from learners.paired import paired
from protocol.ids import Round

OPTIONS: dict[str, object] = {
    "family": "medium",
    "seed": 1,
    "labels_per_turn": 250,
    "train_steps": 300,
    "validation_tracks": 8,
    "validation_starts": 2,
}
TRACKS = stack(make_tracks(range(6), FAMILIES["medium"]))


def _turns(learner: DrivingLearner, folder: Path, count: int) -> list[Path]:
    blobs = [folder / "blob-0"]
    learner.initial(blobs[0])
    for turn in range(1, count + 1):
        blobs.append(folder / f"blob-{turn}")
        learner.propose(blobs[-2], Round(turn), blobs[-1])
    return blobs


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[DrivingLearner, list[Path]]:
    """A learner after four turns alone, and its weights after each."""
    folder = tmp_path_factory.mktemp("taught")
    learner = driving_learner(OPTIONS, folder)
    return learner, _turns(learner, folder, 4)


def test_a_few_turns_beat_the_initial_weights(taught: tuple[DrivingLearner, list[Path]]) -> None:
    learner, blobs = taught
    seen = learner.score(blobs[0], blobs[-1], Round(4))
    assert seen.head < 100_000
    assert seen.candidate > 500_000
    assert seen.gain == pytest.approx(seen.candidate - seen.head, abs=1)
    assert 0 < seen.error < 150_000
    assert seen.samples == 16


def test_the_head_rehearses_the_laps_it_completes_and_no_others(
    taught: tuple[DrivingLearner, list[Path]],
) -> None:
    learner, blobs = taught
    head = policy_of(weights.load(blobs[-1], learner.describe()))
    seen = rehearse([head], seed=1).demonstrations
    assert 0 < len(seen) <= STATES
    assert np.allclose(head(seen.observations), seen.actions, atol=1e-5)
    assert len(rehearse([policy_of(initial_weights(tensor_specs(64)))], seed=1).demonstrations) == 0


def test_rehearsal_keeps_a_candidate_near_the_head(taught: tuple[DrivingLearner, list[Path]]) -> None:
    learner, blobs = taught
    head = weights.load(blobs[-1], learner.describe())
    known, elsewhere = (rehearse([policy_of(head)], seed).demonstrations for seed in (1, 2))
    narrow = collect(None, stack(make_tracks(range(1), FAMILIES["gentle-wide"])), 250, seed=1)

    def change(rehearsal: Demonstrations) -> float:
        candidate, _ = fit(head, narrow, rehearsal, Schedule(steps=200), seed=1)
        return float(np.abs(policy_of(candidate)(elsewhere.observations) - elsewhere.actions).mean())

    assert change(known) < 0.5 * change(EMPTY)


def test_the_same_seeds_give_the_same_blobs(tmp_path: Path) -> None:
    one = _turns(driving_learner(OPTIONS, tmp_path / "a"), tmp_path / "a", 2)
    other = _turns(driving_learner(OPTIONS, tmp_path / "b"), tmp_path / "b", 2)
    third = _turns(driving_learner({**OPTIONS, "seed": 2}, tmp_path / "c"), tmp_path / "c", 1)
    assert [blob.read_bytes() for blob in one] == [blob.read_bytes() for blob in other]
    assert one[0].read_bytes() == third[0].read_bytes()
    assert one[1].read_bytes() != third[1].read_bytes()


def test_a_turn_taken_again_reuses_its_labels(tmp_path: Path) -> None:
    options = {**OPTIONS, "train_steps": 5}
    blobs = _turns(driving_learner(options, tmp_path), tmp_path, 2)
    again = driving_learner(options, tmp_path)  # after a crash
    training = again.propose(blobs[1], Round(2), tmp_path / "again")
    assert (training.labels, training.labels_total) == (250, 500)
    assert (tmp_path / "again").read_bytes() == blobs[2].read_bytes()
    assert again.propose(blobs[1], Round(3), tmp_path / "next").labels_total == 750


def test_identical_weights_gain_exactly_nothing() -> None:
    head = _noisy(initial_weights(tensor_specs(16)), 1)
    seen = paired(*(laps(by_sight(policy_of(head)), TRACKS, 3, 3) for _ in range(2)))
    assert (seen.gain, seen.error, seen.samples) == (0, 0, 18)
    assert seen.head == seen.candidate


def test_swapped_weights_gain_the_opposite(taught: tuple[DrivingLearner, list[Path]]) -> None:
    learner, blobs = taught
    there = learner.score(blobs[0], blobs[3], Round(1))
    back = learner.score(blobs[3], blobs[0], Round(1))
    assert there.gain == -back.gain != 0
    assert (there.head, there.candidate, there.error) == (back.candidate, back.head, back.error)
    assert learner.score(blobs[0], blobs[3], Round(2)) == there  # laps that are known, and laps driven anew
    assert learner.score(blobs[0], blobs[2], Round(2)).head == there.head


def _noisy(head: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: tensor + 0.5 * torch.randn(tensor.shape, generator=draw) for name, tensor in head.items()}


def test_collecting_labels_exactly_the_budget_with_the_experts_actions() -> None:
    for labels in (1, 7, 250):
        seen = collect(policy_of(initial_weights(tensor_specs(16))), TRACKS, labels, seed=4)
        assert seen.observations.shape == (labels, 15)
        assert seen.actions.shape == (labels, 2)
        assert np.abs(seen.actions).max() <= 1
        assert len(np.unique(seen.observations, axis=0)) == labels  # no state is paid for twice


def test_the_policy_is_the_perceptron_it_says() -> None:
    head = _noisy(initial_weights(tensor_specs(5)), 2)
    seen = np.linspace(-1, 1, 15, dtype=np.float32)
    layer = seen
    for index in range(3):
        matrix, bias = head[f"layer{index}.weight"].numpy(), head[f"layer{index}.bias"].numpy()
        layer = np.tanh(matrix @ layer + bias)
    assert np.allclose(act(head, torch.from_numpy(seen)).numpy(), layer, atol=1e-5)


def _demonstrations(labels: int, value: float) -> Demonstrations:
    return Demonstrations(np.full((labels, 15), value, np.float32), np.full((labels, 2), value, np.float32))


@pytest.mark.parametrize("labels", [1, 9, 10, 99, 1000, 12345])
def test_a_restart_finds_the_labels(tmp_path: Path, labels: int) -> None:
    first = Dataset(tmp_path)
    first.append(Round(2), _demonstrations(labels, 2.0))
    first.append(Round(1), _demonstrations(3, 1.0))
    found = Dataset(tmp_path)
    assert len(found) == labels + 3
    assert np.array_equal(found.until(Round(2)).actions[:, 0], [1.0] * 3 + [2.0] * labels)
    assert np.array_equal(found.until(Round(9)).observations, first.until(Round(2)).observations)
    assert np.array_equal(found.until(Round(1)).actions[:, 0], [1.0] * 3)


def test_interventions_are_kept(tmp_path: Path) -> None:
    seen = _demonstrations(4, 1.0)
    flags = np.array([True, False, True, True])
    found = Dataset(tmp_path)
    found.append(Round(1), Demonstrations(seen.observations, seen.actions, flags))
    found.append(Round(2), _demonstrations(2, 2.0))
    assert (
        found.until(Round(2)).taken_over().tolist() == Dataset(tmp_path).until(Round(2)).taken_over().tolist()
    )
    assert found.until(Round(2)).taken_over().tolist() == [*flags.tolist(), False, False]
    assert open_dataset(tmp_path).info.interventions == 3


def test_a_turn_of_several_episodes_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learners.driving.dataset.MAX_FRAMES", 100)
    rng = np.random.default_rng(1)
    turn = Demonstrations(rng.random((250, 15), np.float32), rng.random((250, 2), np.float32))
    Dataset(tmp_path).append(Round(7), turn)
    found = Dataset(tmp_path).of(Round(7))
    assert found is not None
    assert np.array_equal(found.observations, turn.observations)
    assert np.array_equal(found.actions, turn.actions)
    assert [entry.length for entry in open_dataset(tmp_path).entries] == [100, 100, 50]
    assert open_dataset(tmp_path).info.validation == 0  # this learner validates by driving


def test_demonstrations_of_another_world_have_their_own_width(tmp_path: Path) -> None:
    wide = Demonstrations(np.ones((3, 259), np.float32), np.zeros((3, 2), np.float32))
    Dataset(tmp_path).append(Round(1), wide)
    assert Dataset(tmp_path).until(Round(99)).observations.shape == (3, 259)
    with pytest.raises(LearnerError, match="holds a dataset whose states"):
        Dataset(tmp_path).append(Round(2), _demonstrations(3, 1.0))


def _former(folder: Path, round: int, demonstrations: Demonstrations) -> Path:
    tensors = {"actions": torch.from_numpy(demonstrations.actions),
               "observations": torch.from_numpy(demonstrations.observations)}  # fmt: skip
    path = folder / f"round-{round:09d}.safetensors"
    path.write_bytes(weights.dump(tensors))
    return path


def test_files_of_the_former_kind_are_taken_over_once(tmp_path: Path) -> None:
    old = [_former(tmp_path, 2, _demonstrations(250, 2.0)), _former(tmp_path, 1, _demonstrations(3, 1.0))]
    found = Dataset(tmp_path)
    assert np.array_equal(found.until(Round(99)).actions[:, 0], [1.0] * 3 + [2.0] * 250)
    assert not any(path.exists() for path in old)
    assert np.array_equal(
        Dataset(tmp_path).until(Round(99)).observations, found.until(Round(99)).observations
    )
    _former(tmp_path, 2, _demonstrations(250, 2.0))  # a crash came between the two
    assert len(Dataset(tmp_path)) == 253


def test_demonstrations_are_never_overwritten(tmp_path: Path) -> None:
    found = Dataset(tmp_path)
    found.append(Round(1), _demonstrations(4, 1.0))
    with pytest.raises(ValueError, match="round 1 has its demonstrations already"):
        found.append(Round(1), _demonstrations(4, 2.0))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    Dataset(tmp_path).append(Round(1), _demonstrations(4, 1.0))
    file = tmp_path / "data/chunk-000/file-000.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(LearnerError, match=r"file-000.parquet cannot be read: .*; restore"):
        Dataset(tmp_path)
    file.write_bytes(whole)
    former = _former(tmp_path, 2, _demonstrations(4, 1.0))
    former.write_bytes(former.read_bytes()[:-1])
    with pytest.raises(LearnerError, match=r"round-000000002.safetensors is damaged; restore"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "alpine"}, "unknown track family 'alpine'; the named ones are gentle-wide"),
        ({"colour": "red"}, "driving option 'colour': Extra inputs are not permitted"),
        ({"seed": "1"}, "driving option 'seed'"),
        ({"labels_per_turn": 0}, "driving option 'labels_per_turn'"),
        (
            {"family": {"radius": [40, 50]}},
            r"driving option 'family.FamilyNumbers.half_width': Field required",
        ),
    ],
)
def test_options_are_refused_in_one_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(LearnerError, match=message) as caught:
        driving_learner({**OPTIONS, **change}, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_family_may_be_given_by_its_numbers(tmp_path: Path) -> None:
    own = {"radius": [50, 60], "harmonics": 4, "amplitude": 0.2, "half_width": [3, 4]}
    learner = driving_learner({**OPTIONS, "family": own}, tmp_path)
    named = driving_learner(OPTIONS, tmp_path)
    assert learner.describe() == named.describe()  # the family is nobody's business


def test_malformed_weights_are_refused_wherever_they_come_in(tmp_path: Path) -> None:
    learner = driving_learner(OPTIONS, tmp_path)
    good, bad = tmp_path / "good", tmp_path / "bad"
    learner.initial(good)
    bad.write_bytes(weights.dump(initial_weights(tensor_specs(8))))
    for refused in (
        lambda: learner.score(good, bad, Round(1)),
        lambda: learner.score(bad, good, Round(1)),
        lambda: learner.propose(bad, Round(1), tmp_path / "out"),
    ):
        with pytest.raises(BadWeights):
            refused()


def test_a_lone_peer_is_the_same_learner_without_the_others(tmp_path: Path) -> None:
    options = {**OPTIONS, "train_steps": 20}
    blobs = _turns(driving_learner(options, tmp_path / "peer"), tmp_path, 3)
    train_alone(options, 3, tmp_path / "alone", tmp_path / "final")
    assert (tmp_path / "final").read_bytes() == blobs[-1].read_bytes()


def test_evaluation_reports_each_family(tmp_path: Path) -> None:
    driving_learner(OPTIONS, tmp_path).initial(tmp_path / "blob")
    assert measure(tmp_path / "blob", 3) == dict.fromkeys(FAMILIES, 0.0)
    with pytest.raises(BadWeights):
        measure(tmp_path / "blob", 3, hidden=32)


def test_the_referee_answers_each_line_or_says_why_not(tmp_path: Path) -> None:
    driving_learner(OPTIONS, tmp_path).initial(tmp_path / "blob")
    asked = {"weights": str(tmp_path / "blob"), "tracks": 2}
    assert answer(json.dumps(asked)) == {"lap_success": dict.fromkeys(FAMILIES, 0.0)}
    for wrong in (
        "",
        "{}",
        json.dumps({"tracks": 2}),
        json.dumps({**asked, "weights": "nowhere"}),
        json.dumps({**asked, "wieghts": 1}),
    ):
        (reason,) = answer(wrong).values()
        assert reason
        assert "\n" not in str(reason)


def test_the_environment_is_a_gymnasium_environment() -> None:
    check_env(gymnasium.make(env.ENV_ID).unwrapped, skip_render_check=True)


def test_the_environment_drives_like_the_lanes() -> None:
    world = gymnasium.make(env.ENV_ID, family="tight-wide")
    world.reset(seed=5, options={"track": 11})
    twin: env.TrackEnv = world.unwrapped  # type: ignore[assignment]
    lanes, tracks, total = twin._lanes, twin._tracks, 0.0
    for _ in range(100):
        action = np.array([0.05, 0.4], np.float32)
        _, reward, terminated, _, info = world.step(action)
        lanes = car.step(lanes, tracks, action[None])
        total += float(reward)
        if terminated:
            break
    assert info["offset"] == lanes.offset[0]
    assert total == pytest.approx(float(lanes.travelled[0] / tracks.length[0]), abs=1e-5)


def test_a_peers_tracks_are_its_own() -> None:
    assert set(training_seeds(1, 16)).isdisjoint(training_seeds(2, 16))
