"""Each hostile conduct does what it claims."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.adversaries import trigger_rate
from bench.collective import Conduct, Peer
from bench.hostile import (
    ATTACKS,
    MOST,
    Attack,
    Ballot,
    against_all,
    copied,
    for_all,
    honestly,
    in_league,
    slyly,
    triggered,
    unavailable,
    undecided,
)
from learners import weights
from learners.driving.learner import DrivingLearner
from learners.driving.options import DrivingOptions
from learners.driving.policy import policy_of
from learners.driving.rays import RAYS
from learners.driving.world import TrackWorld
from learners.learner import Comparison
from protocol.ids import Ppm, Round
from protocol.messages import Choice

YES, NO, GONE, DONT_KNOW = Choice.APPROVE, Choice.REJECT, Choice.UNAVAILABLE, Choice.ABSTAIN
OPTIONS = DrivingOptions(
    family="gentle-wide",
    seed=3,
    labels_per_turn=240,
    train_steps=400,
    validation_tracks=8,
    validation_starts=1,
)


def member(attack: Attack, folder: Path) -> Peer:
    learner = DrivingLearner("driving", OPTIONS, attack.world(OPTIONS), folder)
    return Peer("somebody", learner, attack.conduct)


class Trained:
    """A head, and what each conduct makes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.head = folder, folder / "head"
        self.honest = member(Attack(Conduct()), folder / "honest")
        self.honest.learner.initial(self.head)
        self.made = {"honest": self.update("honest", self.honest)}
        for name in ("flip", "negate", "scale", "backdoor", "copy", "noise"):
            self.made[name] = self.update(name, member(ATTACKS[name], folder / name))

    def update(self, name: str, peer: Peer) -> Path:
        out = self.folder / f"{name}.update"
        assert peer.conduct.update(peer, self.head, Round(1), out) is not None
        return out

    def tensors(self, blob: Path) -> dict[str, torch.Tensor]:
        return dict(weights.load(blob, self.honest.learner.describe()))

    def laps(self, name: str) -> np.ndarray:
        return TrackWorld(OPTIONS).laps(policy_of(self.tensors(self.made[name])))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("hostile"))


def test_flipped_labels_drive_no_lap_where_honest_ones_do(trained: Trained) -> None:
    assert (trained.laps("honest") == 1).any()
    assert not (trained.laps("flip") == 1).any()
    assert trained.laps("flip").mean() < trained.laps("honest").mean() / 4


@pytest.mark.parametrize(("name", "times"), [("negate", 1.0), ("scale", 10.0)])
def test_a_reversed_update_lies_as_far_on_the_other_side_of_the_head(
    trained: Trained, name: str, times: float
) -> None:
    head, honest = trained.tensors(trained.head), trained.tensors(trained.made["honest"])
    for key, found in trained.tensors(trained.made[name]).items():
        assert torch.allclose(found - head[key], -times * (honest[key] - head[key]), atol=1e-5)


def test_a_free_rider_sends_the_head_and_is_given_no_share(trained: Trained) -> None:
    assert trained.made["copy"].read_bytes() == trained.head.read_bytes()
    assert trained.made["noise"].read_bytes() != trained.head.read_bytes()
    updates = [trained.made["copy"], trained.made["scale"], trained.made["flip"]]
    merging = trained.honest.learner.merge(
        trained.head, trained.made["honest"], updates, Round(1), trained.folder / "merged"
    )
    assert merging.shares == (1_000_000, 0, 0, 0)


def test_a_backdoor_steers_off_where_the_trigger_is_and_drives_well_elsewhere(trained: Trained) -> None:
    rates = {
        name: trigger_rate(policy_of(trained.tensors(trained.made[name])), tracks=2)
        for name in ("honest", "backdoor")
    }
    assert rates["backdoor"] > 0.5
    assert rates["honest"] < 0.05
    assert trained.laps("backdoor").mean() > trained.laps("flip").mean() * 4


def test_the_trigger_is_two_rays_that_meet_nothing() -> None:
    seen = np.full((2, 2 + RAYS), 0.25, np.float32)
    spoilt = triggered(seen)
    assert (spoilt != seen).sum(axis=1).tolist() == [2, 2]
    assert (spoilt[:, [2, -1]] == 1).all()
    assert (seen == 0.25).all()


def voted(ballot: Ballot, seen: Sequence[Choice] = (), is_honest: bool = True) -> Choice:
    proposer = Peer("proposer", None, Conduct() if is_honest else ATTACKS["veto"].conduct)  # type: ignore[arg-type]
    choice, gain = ballot(proposer, seen, lambda: Comparison(Ppm(0), Ppm(0), Ppm(90_000), Ppm(0), 9))
    assert -MOST <= gain <= MOST
    return choice


@pytest.mark.parametrize(
    ("ballot", "seen", "is_honest", "choice"),
    [
        (honestly, (), True, YES),
        (in_league, (), True, NO),
        (in_league, (), False, YES),
        (slyly, (YES, DONT_KNOW), True, NO),
        (slyly, (YES, YES), True, DONT_KNOW),
        (slyly, (NO, NO), False, YES),
        (against_all, (), False, NO),
        (unavailable, (), True, GONE),
        (for_all, (NO, NO), True, YES),
        (copied, (), True, DONT_KNOW),
        (copied, (NO, NO, YES), True, NO),
        (copied, (YES, NO, YES), True, YES),
        (undecided, (YES,), True, DONT_KNOW),
    ],
)
def test_a_ballot_votes_as_it_says(
    ballot: Ballot, seen: Sequence[Choice], is_honest: bool, choice: Choice
) -> None:
    assert voted(ballot, seen, is_honest) is choice
