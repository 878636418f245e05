"""MetaDrive (Li et al. 2022) behind a few calls of ours; no other module imports it.

MetaDrive can open one simulation in a process, so all who drive in a process take turns in it, a scenario at a time.
It fetches models and textures when it opens; without pictures it needs none, and is kept from it.
"""

import logging
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from learners.driving.track import Floats
from learners.learner import LearnerError
from learners.metadrive.expert import Car, Route, drive
from learners.metadrive.scenario import SEEDS, Scenario
from learners.metadrive.sight import see

MAX_STEPS = 1000
"""A drive ends after so many steps of 0.1 s, arrived or not."""


@cache
def simulator() -> "Simulator":
    """The process's simulation, opened when first asked for. Raises LearnerError."""
    return Simulator(_open())


class Simulator:
    """One car in one scenario: start, then step until it is over."""

    def __init__(self, environment: Any) -> None:
        """For `simulator` alone; environment: an open MetaDriveEnv."""
        self._environment = environment
        self._route: Route | None = None
        self._others: list[Car] = []
        self._steps = 0
        self.progress = 0.0
        """How much of the route is driven, in [0, 1]; 1 when the destination is reached, and only then."""
        self.is_over = True
        """Arrived, off the road, crashed, or out of time."""

    def start(self, scenario: Scenario) -> Floats:
        """Put the car where the scenario begins; what it sees: (OBSERVATION,)."""
        config = self._environment.engine.global_config
        config["traffic_density"] = scenario.traffic
        kind, blocks = ("block_sequence", scenario.blocks) if scenario.blocks else ("block_num", 3)
        config["map_config"].update({"type": kind, "config": blocks})
        state, _ = self._environment.reset(seed=scenario.seed)
        navigation = self._environment.agent.navigation
        graph = navigation.map.road_network.graph
        stops = navigation.checkpoints
        self._route = Route([graph[here][there] for here, there in pairwise(stops)])
        self._steps, self.progress, self.is_over = 0, 0.0, False
        return self._look(state)

    def step(self, action: Floats) -> Floats:
        """A tenth of a second with an action (2,), steering and throttle; what the car sees then."""
        steering, throttle = (float(each) for each in np.clip(action, -1.0, 1.0))
        state, _, is_ended, _, info = self._environment.step([steering, throttle])
        self._steps += 1
        self.is_over = bool(is_ended) or self._steps >= MAX_STEPS
        completed = float(np.clip(info["route_completion"], 0.0, np.nextafter(1.0, 0.0)))
        self.progress = 1.0 if info["arrive_dest"] else completed
        return self._look(state)

    def expert(self) -> Floats:
        """What the expert would do here: (2,)."""
        if self._route is None:
            raise RuntimeError("no scenario was started")
        vehicle = self._environment.agent
        road = vehicle.navigation._target_checkpoints_index[0]  # there is no public name for it
        return np.array(drive(self._route, road, _car(vehicle), self._others), np.float32)

    def _look(self, state: Any) -> Floats:
        vehicle = self._environment.agent
        has_traffic = self._environment.engine.global_config["traffic_density"] > 0
        nearby = vehicle.lidar.get_surrounding_objects(vehicle) if has_traffic else ()
        self._others = sorted((_car(each) for each in nearby), key=lambda car: (car.x, car.y))
        return see(np.asarray(state, np.float64), _car(vehicle), self._others)


def _open() -> Any:
    try:
        from metadrive.engine.base_engine import BaseEngine
        from metadrive.envs.metadrive_env import MetaDriveEnv
    except ImportError as fault:
        raise LearnerError(
            f"MetaDrive cannot be loaded ({fault}); install the extra `metadrive` with Python 3.11"
        ) from fault
    BaseEngine.try_pull_asset = staticmethod(lambda: None)  # see above
    environment = MetaDriveEnv(
        {
            "start_seed": 0,
            "num_scenarios": SEEDS,
            "store_map": False,  # two peers in a process may ask for different roads by one seed
            "horizon": MAX_STEPS + 1,
            "log_level": logging.CRITICAL,
            "vehicle_config": {"lidar": {"num_lasers": 0}},  # its cars are found without rays
        }
    )
    environment.reset(seed=0)  # its engine opens with the first scenario
    return environment


def _car(vehicle: Any) -> Car:
    x, y = vehicle.position
    return Car(float(x), float(y), float(vehicle.heading_theta), float(vehicle.speed))
