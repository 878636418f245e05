"""Merging updates: what helps on the merger's own data counts, and nothing else does."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import weights
from learners.digits.learner import DigitsLearner
from learners.learner import BadWeights, Merger
from learners.merging import ENORMOUS, STRIDES, Weights, merge, trusted
from learners.shares import WHOLE
from protocol.ids import Ppm, Round

TARGET = {"a": torch.tensor([[1.0, -2.0], [0.5, 3.0]]), "b": torch.tensor([0.3])}
HEAD = {name: torch.zeros_like(tensor) for name, tensor in TARGET.items()}


def gain(candidate):
    """How much nearer to the target than the head weights are."""

    def distance(each):
        return sum(float((each[name] - TARGET[name]).square().sum()) for name in TARGET)

    return distance(HEAD) - distance(candidate)


def toward(part, noise=0.0, seed=0):
    """Weights on the way from the head to the target, give or take."""
    draw = torch.Generator().manual_seed(seed)
    return {
        n: HEAD[n] + part * TARGET[n] + noise * torch.randn(TARGET[n].shape, generator=draw) for n in HEAD
    }


OWN = toward(0.2)


def like(update, change):
    return {name: change(tensor) for name, tensor in update.items()}


USELESS = {
    "sign-flipped": like(OWN, lambda t: -t),
    "sign-flipped and scaled": like(OWN, lambda t: -5 * t),
    "enormous": like(OWN, lambda t: 2 * ENORMOUS * t),
    "not a number": like(OWN, lambda t: t + float("nan")),
    "infinite": like(OWN, lambda t: t + float("inf")),
    "of another shape": like(OWN, lambda t: t[:1]),
    "without a tensor": {"a": OWN["a"]},
    "with one more": OWN | {"c": torch.ones(1)},
    "the head again": dict(HEAD),
    "not to be read": None,
}


@pytest.mark.parametrize("name", USELESS)
@pytest.mark.parametrize("others", [0, 1, 4])
def test_what_is_of_no_use_has_no_weight(name, others):
    honest = [toward(0.2, 0.02, seed) for seed in range(others)]
    without = merge(HEAD, OWN, honest, gain)
    made = merge(HEAD, OWN, [*honest, USELESS[name], USELESS[name]], gain)
    assert made.shares[-2:] == (0, 0)
    assert made.shares[:-2] == without.shares
    assert all(torch.equal(made.weights[n], without.weights[n]) for n in HEAD)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.5), st.integers(0, 9)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_shares_make_a_whole(kinds, random):
    updates = [toward(*kind) for kind in kinds]
    order = random.sample(range(len(updates)), len(updates))
    one = merge(HEAD, OWN, updates, gain)
    other = merge(HEAD, OWN, [updates[i] for i in order], gain)
    assert sum(one.shares) == sum(other.shares) == WHOLE
    assert min(one.shares) >= 0
    for at, i in enumerate(order):
        assert abs(other.shares[1 + at] - one.shares[1 + i]) <= 1  # where sums round otherwise
    for name in HEAD:
        assert torch.allclose(one.weights[name], other.weights[name], atol=1e-6)
        assert one.weights[name].dtype == HEAD[name].dtype


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 2), st.integers(0, 9)), max_size=8))
def test_a_merge_moves_no_further_than_its_longest_stride_and_gains(kinds):
    made = merge(HEAD, OWN, [toward(*kind) for kind in kinds], gain)

    def length(each):
        return sum(float(each[name].double().square().sum()) for name in HEAD) ** 0.5

    assert length(made.weights) <= max(STRIDES) * length(OWN) * (1 + 1e-6)
    assert gain(made.weights) > 0


def test_honest_updates_are_averaged_and_share_alike():
    made = merge(HEAD, OWN, [OWN, OWN, OWN], gain)
    assert made.shares == (250_000,) * 4
    best = max(STRIDES, key=lambda stride: gain(like(OWN, lambda t: stride * t)))
    assert all(torch.allclose(made.weights[name], best * OWN[name]) for name in HEAD)


def test_the_stride_is_the_one_that_gains_most():
    for wanted in STRIDES:

        def nearness(weights: Weights, wanted: float = wanted) -> float:
            return 10.0 - sum(float((weights[n] - wanted * OWN[n]).abs().sum()) for n in HEAD)

        made = merge(HEAD, OWN, [OWN], nearness)
        assert all(torch.allclose(made.weights[name], wanted * OWN[name]) for name in HEAD)


def test_where_nothing_gains_ones_own_is_taken():
    flipped = like(OWN, lambda t: -t)
    made = merge(HEAD, flipped, [USELESS["sign-flipped and scaled"]], gain)
    assert made.shares == (WHOLE, 0)
    assert made.weights == flipped


def test_nobody_weighs_more_than_the_median():
    assert trusted([10.0, 2.0, 1.0, -3.0]) == [2.0, 2.0, 1.0, 0.0]
    assert trusted([1.0, 3.0]) == [1.0, 2.0]
    assert trusted([-1.0, 0.0]) == [0.0, 0.0]


# ---- the digits learner ----


def test_digits_of_five_merge_into_better_weights_than_any_alone(tmp_path: Path) -> None:
    learners = [DigitsLearner({"learner": i, "of": 5}, tmp_path) for i in range(5)]
    assert isinstance(learners[0], Merger)
    head, out = tmp_path / "head", tmp_path / "out"
    learners[0].initial(head)
    for turn in range(1, 9):
        for i, learner in enumerate(learners):
            learner.propose(head, Round(turn), tmp_path / f"update {i}")
        updates = [tmp_path / f"update {i}" for i in range(1, 5)]
        merging = learners[0].merge(head, tmp_path / "update 0", updates, Round(turn), out)
        assert sum(merging.shares) == WHOLE
        assert min(merging.shares) > 100_000, "they draw from the same images: nobody is left out"
        if turn < 8:
            head.write_bytes(out.read_bytes())
    gains = [learner.score(tmp_path / "update 0", out, Round(8)).gain for learner in learners[1:]]
    assert sum(gain > 0 for gain in gains) >= 3


def test_digits_leave_out_what_is_malformed_or_flipped(tmp_path: Path) -> None:
    learner = DigitsLearner({"learner": 0, "of": 5}, tmp_path)
    head, own, junk, flipped, out = (tmp_path / name for name in ["head", "own", "junk", "flipped", "out"])
    learner.initial(head)
    learner.propose(head, Round(1), own)
    junk.write_bytes(b"junk")
    spec = learner.describe()
    start, fitted = weights.load(head, spec), weights.load(own, spec)
    flipped.write_bytes(weights.dump({n: start[n] - 3 * (fitted[n] - start[n]) for n in start}))
    assert learner.merge(head, own, [junk, flipped, head], Round(1), out).shares == (WHOLE, 0, 0, 0)
    assert weights.load(out, spec).keys() == fitted.keys()
    with pytest.raises(BadWeights):
        learner.merge(head, junk, [own], Round(1), out)
    assert learner.merge(head, own, [own], Round(1), out).shares == (Ppm(500_000), Ppm(500_000))
