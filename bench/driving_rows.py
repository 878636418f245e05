"""The rows of bench/driving.py: each is one way for peers to learn, given the same labels."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.collective import Collective, Peer
from bench.driven import (
    Result,
    Task,
    driven_by,
    fresh_tracks,
    learner_of,
    measured,
    names_of,
    options_of,
    shares_of,
)
from learners import weights
from learners.driving.dataset import EMPTY, Demonstrations
from learners.driving.learner import DrivingLearner
from learners.driving.policy import policy_of
from learners.driving.rehearsal import Drives
from learners.driving.rollout import Policy
from learners.driving.world import Laps, TrackWorld
from protocol.ids import Round

UPDATE_STEPS = 300
"""Of a policy that is averaged or merged with others after each round."""
LOCAL_STEPS = 1500
"""Of a policy that is trained on all the labels a round brings, in one place."""


class Pooled:
    """All peers' training roads in one place; implements `learners.driving.world.World` but for votes."""

    observation, scorer = TrackWorld.observation, TrackWorld.scorer

    def __init__(self, worlds: Sequence[TrackWorld]) -> None:
        self._worlds = worlds

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations = EMPTY
    ) -> Demonstrations:
        """As many labels on each peer's roads."""
        share = labels // len(self._worlds)
        parts = [world.collect(policy, share, seed + place) for place, world in enumerate(self._worlds)]
        return Demonstrations(
            np.concatenate([part.observations for part in parts]),
            np.concatenate([part.actions for part in parts]),
        )

    def rehearse(self, teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
        """Nothing: who has everybody's data unlearns nothing."""
        return Drives(np.zeros((len(teachers), 1)), EMPTY)

    def laps(self, policy: Policy) -> Laps:
        """Nobody votes."""
        raise NotImplementedError


class Forgetful(TrackWorld):
    """Private roads without any public ones beside them, as the other rows have it."""

    def rehearse(self, teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
        """Nothing."""
        return Drives(np.zeros((len(teachers), 1)), EMPTY)


def alone(task: Task, folder: Path) -> Result:
    """Each peer adopts whatever it trains."""
    each_turn = task.labels // task.rounds
    policies, work = [], []
    for place in range(task.peers):
        learner = learner_of(task, place, folder, TrackWorld, labels_per_turn=each_turn)
        head, seconds = _trained(learner, task.rounds // task.peers, folder / f"alone-{place}")
        policies.append(_policy(head, learner))
        work.append(seconds)
    return measured(task, policies, task.labels, max(work), sum(work), 0, "")


def pooled(task: Task, folder: Path) -> Result:
    """DAgger with everybody's roads."""
    worlds = [TrackWorld(options_of(task, place)) for place in range(task.peers)]
    options = options_of(task, 0, labels_per_turn=task.labels // task.rounds, train_steps=LOCAL_STEPS)
    learner = DrivingLearner("driving", options, Pooled(worlds), folder / "pooled")
    head, seconds = _trained(learner, task.rounds, folder / "head")
    return measured(task, [_policy(head, learner)], task.labels, seconds, seconds, 0, "")


def fedavg(task: Task, folder: Path) -> Result:
    """Everybody trains from the head, weights are averaged, and the average is the head."""
    share = task.labels // task.rounds // task.peers
    learners = [
        learner_of(task, place, folder, Forgetful, labels_per_turn=share, train_steps=UPDATE_STEPS)
        for place in range(task.peers)
    ]
    head, seconds, work = folder / "head-0", 0.0, 0.0
    learners[0].initial(head)
    for number in range(1, task.rounds + 1):
        spent, parts = [], []
        for place, learner in enumerate(learners):
            out, began = folder / f"update-{number}-{place}", time.process_time()
            learner.propose(head, Round(number), out)
            spent.append(time.process_time() - began)
            parts.append(weights.load(out, learner.describe()))
        mean = {name: torch.stack([part[name] for part in parts]).mean(dim=0) for name in parts[0]}
        head = folder / f"head-{number}"
        head.write_bytes(weights.dump(mean))
        seconds, work = seconds + max(spent), work + sum(spent)
    sent = 2 * (task.peers - 1) * head.stat().st_size
    return measured(task, [_policy(head, learners[0])], task.labels, seconds, work, sent, "")


def colearn(task: Task, folder: Path) -> Result:
    """One at a time; adopted where more than half of the others are strictly better off."""
    learners = [
        learner_of(task, place, folder, Forgetful, labels_per_turn=task.labels // task.rounds)
        for place in range(task.peers)
    ]
    turns = _turns(task)
    head, seconds, work, said = folder / "head", 0.0, 0.0, []
    learners[0].initial(head)
    for number in range(1, task.rounds + 1):
        proposer, out, began = next(turns), folder / f"candidate-{number}", time.process_time()
        learners[proposer].propose(head, Round(number), out)
        trained, spent, better = time.process_time() - began, [], 0
        for place, learner in enumerate(learners):
            if place == proposer:
                continue
            began = time.process_time()
            better += learner.score(head, out, Round(number)).gain > 0
            spent.append(time.process_time() - began)
        is_adopted = better > (task.peers - 1) / 2
        head = out if is_adopted else head
        said.append(f"{proposer}{'+' if is_adopted else '-'}")
        seconds, work = seconds + trained + max(spent), work + trained + sum(spent)
    sent = (task.peers - 1) * head.stat().st_size
    return measured(task, [_policy(head, learners[0])], task.labels, seconds, work, sent, " ".join(said))


def ours(task: Task, folder: Path) -> Result:
    """Roundabout."""
    share = task.labels // task.rounds // task.peers
    how = {"labels_per_turn": share, "train_steps": UPDATE_STEPS, "ask": task.ask}
    peers = [
        Peer(name, learner_of(task, place, folder, TrackWorld, **how))
        for place, name in enumerate(names_of(task))
    ]
    order = {"given": list(range(task.peers)), "reversed": list(range(task.peers))[::-1], "drawn": None}
    # The order is drawn from the hashes of the records: other seeds, other orders.
    rules = {"approval": task.approval, "min_approvals": task.min_approvals}
    params = {"max_rounds": 10_000 + task.seed, **rules}
    run = Collective(peers, folder, order=order[task.order], params=params)
    curve, fresh = [], fresh_tracks(task)
    for number in range(1, task.rounds + 1):
        run.play(1)
        if number % 5 == 0:
            shares = shares_of(driven_by([_policy(run.head, peers[0].learner)], fresh), task.peers)
            labels = sum(each.labels for each in run.played)
            curve.append((labels, float(shares.mean()), float(shares.min())))
    said = " ".join(f"{each.proposer}{'+' if each.ending == 'accepted' else '-'}" for each in run.played)
    return measured(
        task,
        [_policy(run.head, peers[0].learner)],
        sum(each.labels for each in run.played),
        sum(each.seconds for each in run.played),
        sum(each.work for each in run.played),
        max(each.sent for each in run.played),
        said,
        tuple(curve),
    )


RUNS: dict[str, Callable[[Task, Path], Result]] = {
    "alone": alone, "pooled": pooled, "fedavg": fedavg, "colearn": colearn, "ours": ours,
}  # fmt: skip


def _trained(learner: DrivingLearner, turns: int, head: Path) -> tuple[Path, float]:
    """Where a learner that adopts all its own candidates gets, and the seconds it took."""
    began = time.process_time()
    learner.initial(head)
    for number in range(1, turns + 1):
        learner.propose(head, Round(number), head)
    return head, time.process_time() - began


def _turns(task: Task) -> Iterator[int]:
    rng = np.random.default_rng(task.seed)
    places = list(range(task.peers))
    while True:
        drawn = [int(place) for place in rng.permutation(task.peers)]
        yield from {"given": places, "reversed": places[::-1], "drawn": drawn}[task.order]


def _policy(head: Path, learner: object) -> Policy:
    assert isinstance(learner, DrivingLearner)
    return policy_of(weights.load(head, learner.describe()))
