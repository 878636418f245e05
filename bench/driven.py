"""How policies drive on held-out roads, and who it is that learned them: what benchmarks of driving have in common."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learners.driving import car
from learners.driving.family import ALL_FAMILIES
from learners.driving.learner import DrivingLearner
from learners.driving.options import DrivingOptions
from learners.driving.rollout import Pilot, Policy, by_sight, laps
from learners.driving.score import HELD_OUT_START, held_out
from learners.driving.track import Tracks
from learners.driving.world import TrackWorld


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
    """Ppm of the decisive votes that a candidate needs, by our rule,"""
    min_approvals: int
    """and how many approvals by others than its proposer."""
    ask: str
    """What our peers' labels are spent on."""


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


def fresh_tracks(task: Task) -> Tracks:
    return held_out([ALL_FAMILIES[name] for name in names_of(task)], task.tracks)


def driven_by(policies: Sequence[Policy], fresh: Tracks) -> NDArray[np.float64]:
    """(policies, held-out tracks): the progress of each."""
    return np.stack([laps(by_sight(policy), fresh, HELD_OUT_START) for policy in policies])


def shares_of(driven: NDArray[np.float64], families: int) -> NDArray[np.float64]:
    """(policies, families): laps completed."""
    shares: NDArray[np.float64] = (driven == 1).reshape(len(driven), families, -1).mean(axis=2)
    return shares


def measured(
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
    fresh = fresh_tracks(task)
    driven = driven_by(policies, fresh)
    shares = shares_of(driven, task.peers)
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
