"""A run in one process: turns, votes, money and what is counted, with a learner that guesses a number."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.collective import Collective, Conduct, Peer
from learners import weights
from learners.learner import Comparison, LearnerSpec, Merging, TensorSpec, Training
from learners.paired import paired
from learners.shares import shares_of
from protocol.ids import Ppm, Round
from protocol.messages import Choice

SPEC = LearnerSpec("guess", (TensorSpec("guess", (1,), "F32"),), "distance/1")


class Guess:
    """Weights are one number; whoever is nearer to its own number is better off."""

    def __init__(self, wanted: float) -> None:
        self.wanted = wanted

    def describe(self) -> LearnerSpec:
        return SPEC

    def initial(self, out: Path) -> None:
        self._write(out, 0.0)

    def propose(self, head: Path, round: Round, out: Path) -> Training:
        self._write(out, self._read(head) + (self.wanted - self._read(head)) / 2)
        return Training(labels=10, labels_total=10 * round, loss=0.0)

    def merge(self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path) -> Merging:
        self._write(out, float(np.median([self._read(path) for path in (own, *updates)])))
        return Merging(shares_of([1] * (1 + len(updates))))

    def score(self, head: Path, candidate: Path, round: Round) -> Comparison:
        before, after = (np.full(4, 1 - abs(self._read(p) - self.wanted) / 10) for p in (head, candidate))
        return paired(before, after)

    def _read(self, path: Path) -> float:
        return weights.load(path, SPEC)["guess"].item()

    def _write(self, path: Path, value: float) -> None:
        path.write_bytes(weights.dump({"guess": torch.tensor([value])}))


class Veto(Conduct):
    """Rejects whatever others propose, and proposes nothing."""

    is_honest = False

    def candidate(self, *_: object) -> None:
        return None

    def vote(self, *_: object) -> tuple[Choice, Ppm]:
        return Choice.REJECT, Ppm(0)


def peers(*wanted: float, vetoes: int = 0) -> list[Peer]:
    conducts = [Veto() if place < vetoes else Conduct() for place in range(len(wanted))]
    return [Peer(str(n), Guess(n), conduct) for n, conduct in zip(wanted, conducts, strict=True)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_turns_are_taken_in_the_order_that_is_asked_for(tmp_path: Path, order: tuple[int, ...]) -> None:
    run = Collective(peers(1, 2, 3), tmp_path, order=order)
    run.play(7)
    assert [each.proposer for each in run.played] == [*order, *order, order[0]]


def test_merging_finds_the_middle_and_counts_everybodys_labels(tmp_path: Path) -> None:
    run = Collective(peers(1, 2, 3), tmp_path)
    run.play(6)
    assert Guess(0)._read(run.head) == pytest.approx(2, abs=0.1)
    assert {each.labels for each in run.played} == {30}
    size = run.head.stat().st_size
    assert {each.sent for each in run.played} == {
        4 * size
    }  # two updates to the proposer, one candidate to two
    assert run.played[0].ending == "accepted"


def test_without_merging_only_the_proposer_trains(tmp_path: Path) -> None:
    run = Collective(peers(1, 2, 3), tmp_path, merges=False)
    run.play(2)
    assert {each.labels for each in run.played} == {10}
    assert {each.sent for each in run.played} == {2 * run.head.stat().st_size}


def test_two_who_reject_everything_lose_their_seats_and_the_others_go_on(tmp_path: Path) -> None:
    rules = {"stake_min": 700, "penalty_outvoted": 100, "reward_proposal": 500, "reward_per_ppm": 1}
    run = Collective(peers(5, 5, 5, 5.1, 4.9, vetoes=2), tmp_path, stake=1_000, pool=1_000_000, params=rules)
    run.play(20)
    money = run.state.money
    assert run.state.staked == {2, 3, 4}
    assert max(money.stakes[:2]) < 700
    assert (
        min(money.stakes[2:]) >= 900
    )  # who is nearest to its own number rejects the last steps of the others
    assert run.state.earned_by(run.state.roster[2].account) > 0
    assert Guess(0)._read(run.head) == pytest.approx(5, abs=0.2)
    assert "passed" in {each.ending for each in run.played}
