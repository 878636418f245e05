"""What peers with private roads learn alone, with their data pooled, and together: one table in one run.

    python bench/driving.py [--peers 5] [--seeds 5] [--orders given,reversed,drawn] [--labels 5000] [--json]

Each peer has a family of tracks of its own (curvature x width x friction; none shared). All rows have the same
expert labels in all, the same network and the same starting weights, and are measured on the same held-out tracks
of every family.

    alone    each peer on its own share of the labels; the mean over the peers
    pooled   DAgger on all peers' tracks and labels in one place: the ceiling
    fedavg   every peer trains each round, weights are averaged (McMahan et al. 2017), nobody votes
    colearn  in turns one peer trains; its weights are adopted where more than half are strictly better off
    ours     Roundabout: updates merged by the proposer, three-valued votes, ties accept
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.collective import Collective, Peer
from learners import weights
from learners.driving import car
from learners.driving.dataset import EMPTY, Demonstrations
from learners.driving.family import ALL_FAMILIES
from learners.driving.learner import DrivingLearner
from learners.driving.options import DrivingOptions
from learners.driving.policy import policy_of
from learners.driving.rehearsal import Drives
from learners.driving.rollout import Pilot, Policy, by_sight, laps
from learners.driving.score import HELD_OUT_START, held_out
from learners.driving.track import Tracks
from learners.driving.world import Laps, TrackWorld
from protocol.ids import Round

ROWS = ("alone", "pooled", "fedavg", "colearn", "ours")
ORDERS = ("given", "reversed", "drawn")
LOCAL_STEPS = 1500
"""Of a policy that is trained on all the labels a round brings, in one place."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one row."""

    row: str
    peers: int
    seed: int
    order: str
    labels: int
    rounds: int
    tracks: int
    """Held-out tracks of each family."""
    approval: int
    """Ppm of the decisive votes that a candidate needs, by our rule."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    row: str
    seed: int
    order: str
    mean: float
    """Share of held-out laps completed, all families alike."""
    worst_family: float
    families: tuple[float, ...]
    progress: float
    """Mean progress of a held-out lap, 1 for a completed one."""
    interventions: float
    """How often somebody would have to put the car back on the road, a lap."""
    labels: int
    seconds: float
    """Of the processor: where each peer has a machine of its own, and they wait for each other."""
    work: float
    """Seconds of all of them together."""
    sent: int
    """Bytes of weights between peers in a round, at most."""
    rounds: str
    """Who proposed, and whether it was accepted."""
    curve: tuple[tuple[int, float, float], ...]
    """Labels, lap success and worst family on the way there, where that was measured."""


class Pooled:
    """All peers' training roads in one place; implements `learners.driving.world.World` but for votes."""

    observation, scorer = TrackWorld.observation, TrackWorld.scorer

    def __init__(self, worlds: Sequence[TrackWorld]) -> None:
        self._worlds = worlds

    def collect(self, policy: Policy | None, labels: int, seed: int) -> Demonstrations:
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


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=5, choices=range(2, len(ALL_FAMILIES) + 1), metavar="N")
    parser.add_argument("--seeds", default="0-4", help="first-last")
    parser.add_argument("--orders", default="drawn", help=f"of {', '.join(ORDERS)}, with commas between")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--labels", type=int, default=5000, help="expert labels in all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks of each family")
    parser.add_argument(
        "--approval", type=int, default=500_000, help="ppm of the decisive votes, by our rule"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    tasks = list(_tasks(arguments))
    results = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for result in pool.map(run, tasks):
            results.append(result)
            sys.stderr.write(json.dumps(asdict(result)) + "\n")
    sys.stdout.write(table(results))
    if arguments.json:
        sys.stdout.write(json.dumps({row: _columns(results, row) for row in ROWS}) + "\n")


def _tasks(arguments: argparse.Namespace) -> Iterator[Task]:
    first, _, last = arguments.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        for row in arguments.rows.split(","):
            # Where nobody takes turns, their order changes nothing.
            orders = ("drawn",) if row in ("alone", "pooled", "fedavg") else arguments.orders.split(",")
            for order in orders:
                yield Task(
                    row,
                    arguments.peers,
                    seed,
                    order,
                    arguments.labels,
                    arguments.rounds,
                    arguments.tracks,
                    arguments.approval,
                )


def run(task: Task) -> Result:
    """One run of one row, in a process of its own."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return RUNS[task.row](task, Path(folder))


def names_of(task: Task) -> list[str]:
    """The families of the peers, in order of their places."""
    return list(ALL_FAMILIES)[: task.peers]


def options_of(task: Task, place: int, **changes: object) -> DrivingOptions:
    """What one peer's learner is told."""
    common = {"family": names_of(task)[place], "seed": task.seed * len(ALL_FAMILIES) + place}
    return DrivingOptions.model_validate(common | changes)


def learner_of(
    task: Task, place: int, folder: Path, world: Callable[[DrivingOptions], TrackWorld], **changes: object
) -> DrivingLearner:
    """One peer's learner."""
    options = options_of(task, place, **changes)
    return DrivingLearner("driving", options, world(options), folder / f"peer-{place}")


def alone(task: Task, folder: Path) -> Result:
    """Each peer adopts whatever it trains."""
    each_turn = task.labels // task.rounds
    policies, work = [], []
    for place in range(task.peers):
        learner = learner_of(task, place, folder, TrackWorld, labels_per_turn=each_turn)
        head, seconds = _trained(learner, task.rounds // task.peers, folder / f"alone-{place}")
        policies.append(_policy(head, learner))
        work.append(seconds)
    return _measured(task, policies, task.labels, max(work), sum(work), 0, "")


def pooled(task: Task, folder: Path) -> Result:
    """DAgger with everybody's roads."""
    worlds = [TrackWorld(options_of(task, place)) for place in range(task.peers)]
    options = options_of(task, 0, labels_per_turn=task.labels // task.rounds, train_steps=LOCAL_STEPS)
    learner = DrivingLearner("driving", options, Pooled(worlds), folder / "pooled")
    head, seconds = _trained(learner, task.rounds, folder / "head")
    return _measured(task, [_policy(head, learner)], task.labels, seconds, seconds, 0, "")


def fedavg(task: Task, folder: Path) -> Result:
    """Everybody trains from the head, weights are averaged, and the average is the head."""
    share = task.labels // task.rounds // task.peers
    learners = [
        learner_of(task, place, folder, Forgetful, labels_per_turn=share, train_steps=300)
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
    return _measured(task, [_policy(head, learners[0])], task.labels, seconds, work, sent, "")


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
    return _measured(task, [_policy(head, learners[0])], task.labels, seconds, work, sent, " ".join(said))


def ours(task: Task, folder: Path) -> Result:
    """Roundabout."""
    share = task.labels // task.rounds // task.peers
    peers = [
        Peer(name, learner_of(task, place, folder, TrackWorld, labels_per_turn=share, train_steps=300))
        for place, name in enumerate(names_of(task))
    ]
    order = {"given": list(range(task.peers)), "reversed": list(range(task.peers))[::-1], "drawn": None}
    # The order is drawn from the hashes of the records: other seeds, other orders.
    params = {"max_rounds": 10_000 + task.seed, "approval": task.approval}
    run = Collective(peers, folder, order=order[task.order], params=params)
    curve, fresh = [], _fresh(task)
    for number in range(1, task.rounds + 1):
        run.play(1)
        if number % 5 == 0:
            shares = _shares(_driven([_policy(run.head, peers[0].learner)], fresh), task.peers)
            labels = sum(each.labels for each in run.played)
            curve.append((labels, float(shares.mean()), float(shares.min())))
    said = " ".join(f"{each.proposer}{'+' if each.ending == 'accepted' else '-'}" for each in run.played)
    return _measured(
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


def _fresh(task: Task) -> Tracks:
    return held_out([ALL_FAMILIES[name] for name in names_of(task)], task.tracks)


def _driven(policies: Sequence[Policy], fresh: Tracks) -> NDArray[np.float64]:
    """(policies, held-out tracks): the progress of each."""
    return np.stack([laps(by_sight(policy), fresh, HELD_OUT_START) for policy in policies])


def _shares(driven: NDArray[np.float64], families: int) -> NDArray[np.float64]:
    """(policies, families): laps completed."""
    shares: NDArray[np.float64] = (driven == 1).reshape(len(driven), families, -1).mean(axis=2)
    return shares


def _measured(
    task: Task,
    policies: list[Policy],
    labels: int,
    seconds: float,
    work: float,
    sent: int,
    rounds: str,
    curve: tuple[tuple[int, float, float], ...] = (),
) -> Result:
    """How policies drive on held-out tracks; of several, the mean."""
    fresh = _fresh(task)
    driven = _driven(policies, fresh)
    shares = _shares(driven, task.peers)
    return Result(
        row=task.row,
        seed=task.seed,
        order=task.order,
        mean=round(float(shares.mean()), 4),
        worst_family=round(float(shares.min(axis=1).mean()), 4),
        families=tuple(round(float(share), 3) for share in shares.mean(axis=0)),
        progress=round(float(driven.mean()), 4),
        interventions=round(
            statistics.mean(interventions(by_sight(policy), fresh) for policy in policies), 4
        ),
        labels=labels,
        seconds=round(seconds, 1),
        work=round(work, 1),
        sent=sent,
        rounds=rounds,
        curve=curve,
    )


def interventions(pilot: Pilot, tracks: Tracks) -> float:
    """How often a lap somebody has to put the car back on the centreline, because it has left the road."""
    rng = np.random.default_rng(HELD_OUT_START)
    lanes = car.start(tracks, np.arange(len(tracks)), rng)
    helped = 0
    for _ in range(car.MAX_STEPS):
        lanes = car.step(lanes, tracks, pilot(lanes, tracks))
        is_off = car.is_off(lanes, tracks)
        helped += int(is_off.sum())
        if is_off.any():
            lanes = lanes.replaced(is_off, _put_back(lanes, tracks))
        lanes = lanes.keep(~car.has_lapped(lanes, tracks))
        if not len(lanes):
            break
    return helped / len(tracks)


def _put_back(lanes: car.Lanes, tracks: Tracks) -> car.Lanes:
    """Every car where it is, but in the middle of its road and along it, slowly."""
    fresh = car.start(tracks, lanes.track, np.random.default_rng(0))
    track, station = lanes.track, lanes.station
    heading = np.arctan2(tracks.tangent_y[track, station], tracks.tangent_x[track, station])
    return car.Lanes(
        track=track,
        x=tracks.x[track, station],
        y=tracks.y[track, station],
        heading=heading,
        speed=np.full_like(lanes.speed, 3.0),
        steering=fresh.steering,
        station=station,
        offset=np.zeros_like(lanes.offset),
        travelled=lanes.travelled,
    )


def _columns(results: Sequence[Result], row: str) -> dict[str, list[object]]:
    """A row's figures, one entry for each seed and order."""
    own = [asdict(result) for result in results if result.row == row]
    return {key: [each[key] for each in own] for key in asdict(results[0]) if key != "row"}


def table(results: Sequence[Result]) -> str:
    """The table in Markdown: means over the seeds, and the least of them."""
    lines = [
        "| row | order | lap success | least | worst family | least | progress | interventions a lap | labels"
        " | seconds | work | MB a round |",
        "| --- |" + " --- |" * 11,
    ]
    for row in ROWS:
        for order in ORDERS:
            own = [each for each in results if (each.row, each.order) == (row, order)]
            if not own:
                continue
            mean = {
                key: statistics.mean(getattr(each, key) for each in own)
                for key in (
                    "mean",
                    "worst_family",
                    "progress",
                    "interventions",
                    "labels",
                    "seconds",
                    "work",
                    "sent",
                )
            }
            least, worst = min(each.mean for each in own), min(each.worst_family for each in own)
            lines.append(
                f"| {row} | {order} | {mean['mean']:.3f} | {least:.3f} | {mean['worst_family']:.3f} | {worst:.2f}"
                f" | {mean['progress']:.3f} | {mean['interventions']:.2f} | {mean['labels']:.0f}"
                f" | {mean['seconds']:.1f} | {mean['work']:.1f} | {mean['sent'] / 1e6:.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
