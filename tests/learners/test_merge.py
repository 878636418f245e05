"""Merging updates of the driving learner: what it takes over, and what it does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from learners import weights
from learners.driving.learner import DrivingLearner, driving_learner
from learners.driving.policy import policy_of
from learners.driving.rehearsal import rehearse
from learners.learner import Merger
from protocol.ids import Round

OPTIONS = {"labels_per_turn": 250, "train_steps": 400, "merge_steps": 300, "validation_tracks": 8}


class Peers:
    """Three peers with a family each, who have fitted the same head to their own labels."""

    def __init__(self, folder: Path) -> None:
        names = ("gentle-narrow", "medium", "tight-wide")
        self.folder = folder
        self.learners = [
            driving_learner({**OPTIONS, "family": name, "seed": place}, folder / name)
            for place, name in enumerate(names)
        ]
        self.head = folder / "head"
        self.learners[0].initial(self.head)
        self.updates = [folder / f"update-{place}" for place in range(3)]
        for learner, update in zip(self.learners, self.updates, strict=True):
            learner.propose(self.head, Round(1), update)

    def forged(self, name: str, tensors: dict[str, torch.Tensor]) -> Path:
        path = self.folder / name
        path.write_bytes(weights.dump(tensors))
        return path

    def merged(self, *updates: Path) -> tuple[bytes, tuple[int, ...]]:
        out = self.folder / "merged"
        merging = self.learners[0].merge(self.head, self.updates[0], updates, Round(1), out)
        return out.read_bytes(), merging.shares

    def progress(self, blob: bytes | Path) -> float:
        policy = policy_of(weights.load(blob, self.learners[0].describe()))
        return float(rehearse([policy], seed=77).progress.mean())


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Peers:
    return Peers(tmp_path_factory.mktemp("peers"))


def test_a_merge_drives_much_better_than_one_s_own_update(peers: Peers) -> None:
    assert isinstance(peers.learners[0], Merger)
    blob, shares = peers.merged(*peers.updates[1:])
    assert peers.progress(blob) > 2 * peers.progress(peers.updates[0])
    assert sum(shares) == 1_000_000
    assert min(shares) > 0


def test_the_same_updates_merge_to_the_same_bytes(peers: Peers) -> None:
    assert peers.merged(*peers.updates[1:]) == peers.merged(*peers.updates[1:])


def test_what_drives_no_lap_changes_nothing_and_has_no_share(peers: Peers) -> None:
    honest, shares = peers.merged(*peers.updates[1:])
    update = weights.load(peers.updates[1], peers.learners[0].describe())
    absurd = [
        peers.forged("flipped", {name: -tensor for name, tensor in update.items()}),
        peers.forged("scaled", {name: 100 * tensor for name, tensor in update.items()}),
        peers.forged("nothing", {name: torch.zeros_like(tensor) for name, tensor in update.items()}),
        peers.forged("nan", {name: torch.full_like(tensor, np.nan) for name, tensor in update.items()}),
        peers.forged("other", {"layer0.bias": torch.zeros(3)}),
        peers.folder / "missing",
    ]
    (peers.folder / "missing").write_bytes(b"")
    attacked, attacked_shares = peers.merged(*peers.updates[1:], *absurd)
    assert attacked == honest
    assert attacked_shares == (*shares, *[0] * len(absurd))


def test_the_head_itself_has_no_share(peers: Peers) -> None:
    _, shares = peers.merged(peers.head, *peers.updates[1:])
    assert shares[1] == 0
    assert min(shares[2:]) > 0


def test_one_alone_is_all_of_it(peers: Peers) -> None:
    assert peers.merged()[1] == (1_000_000,)


def test_merging_asks_for_no_labels(peers: Peers) -> None:
    learner: DrivingLearner = peers.learners[0]
    before = sorted((peers.folder / "gentle-narrow").rglob("*"))
    peers.merged(*peers.updates[1:])
    assert sorted((peers.folder / "gentle-narrow").rglob("*")) == before
    assert learner.propose(peers.head, Round(2), peers.folder / "next").labels_total == 500
