"""The digits learner: private shares, deterministic turns, a vote that tells better from worse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from learners import weights
from learners.adam import Adam
from learners.digits.data import share_of
from learners.digits.learner import DigitsLearner
from learners.digits.network import accuracy, initial_weights
from learners.learner import BadWeights, LearnerError
from learners.paired import paired
from protocol.ids import Round
from protocol.messages import Choice
from protocol.rules import choice_for

ONE: dict[str, object] = {"learner": 1, "of": 5, "seed": 3}


def test_shares_divide_the_images_among_the_peers() -> None:
    shares = [share_of(i, 5, 0) for i in range(5)]
    parts = [part for s in shares for part in (s.training, s.validation, s.test)]
    assert sum(map(len, parts)) == 1797
    images = torch.cat([part.images for part in parts])
    whole = share_of(0, 1, 0)
    undivided = torch.cat([whole.training.images, whole.validation.images, whole.test.images])
    assert torch.equal(images.sum(dim=0), undivided.sum(dim=0))
    assert (len(shares[0].training), len(shares[0].validation), len(shares[0].test)) == (216, 72, 72)
    assert float(images.min()) == 0.0
    assert float(images.max()) == 1.0


def test_turns_teach_and_the_same_turn_gives_the_same_bytes(tmp_path: Path) -> None:
    learner = DigitsLearner(ONE, tmp_path)
    head, again = tmp_path / "head", tmp_path / "again"
    learner.initial(head)
    before = head.read_bytes()
    for turn in range(1, 16):
        learner.propose(head, Round(turn), again)
        learner.propose(head, Round(turn), tmp_path / "twin")
        assert again.read_bytes() == (tmp_path / "twin").read_bytes()
        head.write_bytes(again.read_bytes())
    (tmp_path / "initial").write_bytes(before)
    seen = learner.score(tmp_path / "initial", head, Round(15))
    assert seen.head < 200_000
    assert seen.candidate > 400_000
    assert seen.samples == 72
    assert choice_for(seen.gain, seen.error) is Choice.APPROVE
    worse = learner.score(head, tmp_path / "initial", Round(15))
    assert worse.gain == -seen.gain
    assert choice_for(worse.gain, worse.error) is Choice.REJECT
    fitted = weights.load(head, learner.describe())
    assert accuracy(fitted, share_of(0, 5, 3).test) > 0.7
    assert accuracy(initial_weights(), share_of(0, 5, 3).test) < 0.4


def test_a_tie_is_an_abstention(tmp_path: Path) -> None:
    learner = DigitsLearner({}, tmp_path)
    learner.initial(tmp_path / "head")
    same = learner.score(tmp_path / "head", tmp_path / "head", Round(1))
    assert (same.gain, same.error) == (0, 0)
    assert choice_for(same.gain, same.error) is Choice.ABSTAIN


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    learner = DigitsLearner({}, tmp_path)
    learner.initial(tmp_path / "head")
    bad = {name: torch.zeros(1, *tensor.shape) for name, tensor in initial_weights().items()}
    (tmp_path / "bad").write_bytes(weights.dump(bad))
    with pytest.raises(BadWeights):
        learner.score(tmp_path / "head", tmp_path / "bad", Round(1))
    with pytest.raises(BadWeights):
        learner.propose(tmp_path / "bad", Round(1), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"learner": 5}, "share 5 of 5"),
        ({"of": 0}, "'of'"),
        ({"speed": 1}, "'speed'"),
        ({"seed": "1"}, "'seed'"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, object], place: str, tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match=place):
        DigitsLearner(options, tmp_path)


def test_our_adam_takes_the_steps_of_the_library() -> None:
    generator = torch.Generator().manual_seed(5)
    start = {"a": torch.randn(3, 4, generator=generator), "b": torch.randn(3, generator=generator)}
    wanted = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    library = torch.optim.Adam(wanted.values(), lr=1e-2)
    ours = Adam(start)
    for step in range(50):
        inputs = torch.randn(8, 4, generator=generator)
        rate = 1e-2 / (1 + step)
        library.param_groups[0]["lr"] = rate
        library.zero_grad()
        (torch.nn.functional.linear(inputs, wanted["a"], wanted["b"]) ** 2).mean().backward()
        library.step()
        ours.step(
            (torch.nn.functional.linear(inputs, ours.weights["a"], ours.weights["b"]) ** 2).mean(), rate
        )
    for name, tensor in ours.fitted().items():
        torch.testing.assert_close(tensor, wanted[name].detach(), rtol=1e-5, atol=1e-6)
    assert not torch.equal(start["a"], ours.fitted()["a"])


def test_the_error_of_a_pair_is_that_of_the_mean_difference() -> None:
    before, after = np.array([0.0, 0.5, 0.5, 1.0]), np.array([0.5, 0.5, 1.0, 1.0])
    seen = paired(before, after)
    assert (seen.head, seen.candidate, seen.gain, seen.samples) == (500_000, 750_000, 250_000, 4)
    assert seen.error == round(np.std([0.5, 0.0, 0.5, 0.0], ddof=1) / 2 * 1_000_000)
