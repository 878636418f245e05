"""MetaDrive as a world: whose roads are whose, the expert on paper roads, and a short drive where it is installed."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.driving.policy import initial_weights, policy_of, tensor_specs
from learners.learner import LearnerError
from learners.metadrive import scenario
from learners.metadrive.expert import CRUISE, Car, Route, drive
from learners.metadrive.learner import metadrive_learner
from learners.metadrive.options import MetaDriveOptions, parse_options
from learners.metadrive.sight import OBSERVATION, see
from protocol.ids import Round

needs_metadrive = pytest.mark.skipif(
    importlib.util.find_spec("metadrive") is None, reason="the extra `metadrive` is not installed"
)
STATE = np.linspace(0.1, 0.9, 19)


@dataclass(frozen=True)
class Straight:
    """A lane along x that begins at a point."""

    x: float
    y: float
    length: float

    def position(self, longitudinal: float, lateral: float) -> Sequence[float]:
        return (self.x + longitudinal, self.y + lateral)

    def local_coordinates(self, position: Sequence[float]) -> tuple[float, float]:
        return position[0] - self.x, position[1] - self.y


def _two_roads() -> Route:
    """Three lanes 3.5 m apart, of which only the third (y = 7) leads on."""
    return Route([[Straight(0, 3.5 * lane, 50) for lane in range(3)], [Straight(50, 7.0, 50)]])


def test_the_expert_makes_for_the_lane_that_leads_on() -> None:
    route = _two_roads()
    assert [route.lane_ahead(0, lane) for lane in range(3)] == [2, 2, 2]
    steering = [drive(route, 0, Car(5.0, y, 0.0, 8.0), [])[0] for y in (0.0, 7.0, 9.0)]
    assert steering[0] > 0.1
    assert abs(steering[1]) < 1e-9
    assert steering[2] < -0.1


def test_a_lane_that_leads_nowhere_else_is_kept() -> None:
    road = [Straight(0, 3.5 * lane, 50) for lane in range(3)]
    following = [Straight(50, 3.5 * lane, 50) for lane in range(3)]
    assert [Route([road, following]).lane_ahead(0, lane) for lane in range(3)] == [0, 1, 2]


@settings(deadline=None, max_examples=30)
@given(st.floats(-math.pi, math.pi), st.floats(0, 30), st.floats(-20, 20))
def test_the_expert_never_asks_for_more_than_there_is(heading: float, speed: float, aside: float) -> None:
    steering, throttle = drive(_two_roads(), 0, Car(10.0, aside, heading, speed), [])
    assert -1 <= steering <= 1
    assert -1 <= throttle <= 1


def test_the_expert_brakes_for_a_car_in_its_way_and_for_one_that_will_be() -> None:
    route, car = _two_roads(), Car(5.0, 7.0, 0.0, CRUISE)
    free = drive(route, 0, car, [])[1]
    standing = drive(route, 0, car, [Car(18.0, 7.0, 0.0, 0.0)])[1]
    crossing = drive(route, 0, car, [Car(20.0, 17.0, -math.pi / 2, 7.0)])[1]
    leaving = drive(route, 0, car, [Car(20.0, 17.0, math.pi / 2, 7.0)])[1]
    ahead = drive(route, 0, car, [Car(25.0, 7.0, 0.0, CRUISE)])[1]
    assert free == leaving == ahead == 0
    assert standing < -0.5
    assert crossing < -0.5


def test_a_drawn_scenario_has_the_blocks_it_was_drawn_from() -> None:
    drawn = scenario.training(3, 20, "XO", 4, 0.1)
    assert {len(each.blocks) for each in drawn} == {4}
    assert set("".join(each.blocks for each in drawn)) == {"X", "O"}
    assert drawn == scenario.training(3, 20, "XO", 4, 0.1)


def test_no_road_is_two_peers_or_public_and_private() -> None:
    most, roads = scenario.MAX_SCENARIOS, (scenario.PLAIN, 3, 0.0)
    sets = [[scenario.held_out(index, scenario.PLAIN, 0.0) for index in (0, scenario.PUBLIC - 1)]]
    sets.append([scenario.rehearsal(index, 0.0) for index in (0, scenario.PUBLIC - 1)])
    for peer in (0, 1, scenario.MAX_PEERS - 1):
        sets += [scenario.training(peer, most, *roads), scenario.validation(peer, most, *roads)]
    seeds = [[each.seed for each in found] for found in sets]
    assert all(max(low) < min(high) for low, high in pairwise(seeds))
    assert seeds[-1][-1] == scenario.SEEDS - 1


def test_the_last_action_is_not_seen() -> None:
    straight = STATE.copy()
    straight[2] = 0.5  # along the lane: how far aslant the car is has a limit
    alone = see(straight, Car(0, 0, 0, 5), [])
    assert alone.shape == (OBSERVATION,)
    told = straight.copy()
    told[4:8] = 0.77  # steering, the last action, how fast it turned
    assert np.array_equal(see(told, Car(0, 0, 0, 5), []), alone)
    for place in (0, 1, 2, 3, *range(8, 19)):
        other = straight.copy()
        other[place] += 0.05
        assert not np.array_equal(see(other, Car(0, 0, 0, 5), []), alone), place


@settings(deadline=None, max_examples=30)
@given(st.floats(-math.pi, math.pi), st.floats(-100, 100), st.floats(-100, 100))
def test_cars_are_seen_from_one_s_own_place(turn: float, x: float, y: float) -> None:
    others = [Car(12.0, 3.0, 0.4, 6.0), Car(-9.0, 20.0, -1.0, 2.0), Car(70.0, 0.0, 0.0, 1.0)]

    def moved(car: Car) -> Car:
        cosine, sine = math.cos(turn), math.sin(turn)
        place = x + cosine * car.x - sine * car.y, y + sine * car.x + cosine * car.y
        return Car(*place, car.heading + turn, car.speed)

    here = see(STATE, Car(0, 0, 0, 5), others)
    there = see(STATE, moved(Car(0, 0, 0, 5)), [moved(car) for car in reversed(others)])
    assert np.allclose(here, there, atol=1e-4)
    assert not here[-10:].any()  # the third is too far away
    assert here[15:25].all()


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"blocks": "CZ"}, "blocks"),
        ({"seed": 1000}, "seed"),
        ({"traffic": 2.0}, "traffic"),
        ({"map": 3}, "map"),
    ],
)
def test_options_are_refused_in_one_line(change: dict[str, object], option: str) -> None:
    with pytest.raises(LearnerError, match=f"metadrive option '{option}'") as caught:
        parse_options({"seed": 1, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("metadrive") is not None, reason="MetaDrive is installed")
def test_without_metadrive_one_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match="install the extra `metadrive`"):
        metadrive_learner({"seed": 1}, tmp_path)


@needs_metadrive
def test_the_expert_arrives_and_a_drive_is_the_same_again() -> None:
    from learners.metadrive import world

    road = scenario.Scenario(7, "C", 0.0)
    progress, states = world.drive(None, road)
    again, same = world.drive(None, road)
    assert progress == again == 1.0
    assert np.array_equal(states, same)
    idle = policy_of({name: 0 * each for name, each in initial_weights(tensor_specs(4, OBSERVATION)).items()})
    assert world.drive(idle, road)[0] < 0.5


@needs_metadrive
def test_a_turn_in_metadrive_is_a_turn_of_the_driving_learner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from learners.metadrive import world

    monkeypatch.setattr(world, "DRIVE_STEPS", 300)
    monkeypatch.setattr(world, "REHEARSALS", 1)
    learner = metadrive_learner(
        {
            "seed": 4,
            "blocks": "S",
            "length": 1,
            "labels_per_turn": 60,
            "train_steps": 200,
            "validation_maps": 2,
        },
        tmp_path / "data",
    )
    initial, candidate = tmp_path / "initial", tmp_path / "candidate"
    learner.initial(initial)
    training = learner.propose(initial, Round(1), candidate)
    assert training.labels == training.labels_total == 60
    seen = learner.score(initial, candidate, Round(1))
    assert seen.samples == 2
    assert seen.gain == seen.candidate - seen.head > 0


@needs_metadrive
def test_collecting_labels_the_states_with_the_experts_actions() -> None:
    from learners.metadrive.world import MetaDriveWorld

    own = MetaDriveWorld(MetaDriveOptions(seed=2, blocks="C", traffic=0.1, train_maps=2))
    seen = own.collect(None, 40, 1)
    assert seen.observations.shape == (40, OBSERVATION)
    assert np.abs(seen.actions).max() <= 1
    assert seen.observations[:, 15:].any()  # there was traffic
