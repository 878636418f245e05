"""The expert takes over in time, hands back when all is well, and nothing else is recorded."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.driving import car, expert, gating
from learners.driving.car import Lanes
from learners.driving.dagger import collect
from learners.driving.dataset import Dataset
from learners.driving.doubt import fit_ensemble
from learners.driving.family import FAMILIES
from learners.driving.gating import DoubtGate, Gate, Moment, RuleGate, askew, collect_gated, doubt_gate
from learners.driving.learner import driving_learner
from learners.driving.rays import observe
from learners.driving.track import Bools, Floats, make_tracks, stack
from protocol.ids import Round

TRACKS = stack(make_tracks(range(4), FAMILIES["medium"]))
LANES = 32


def straight_on(observations: Floats) -> Floats:
    """A policy that needs help in every bend."""
    return np.tile(np.array([0.0, 0.3], np.float32), (len(observations), 1))


def moment(lanes: Lanes, intended: Floats | None = None) -> Moment:
    """A moment in which the policy agrees with the expert, unless it intends something else."""
    advised = expert.drive(lanes, TRACKS)
    return Moment(lanes, TRACKS, observe(lanes, TRACKS), advised if intended is None else intended, advised)


def on_road(away: float, angle: float, speed: float = 8.0) -> Lanes:
    """Two cars, left and right of the centreline by a share of the half-width, turned towards their borders."""
    lanes = car.start(TRACKS, np.zeros(2, np.int64), np.random.default_rng(0))
    side = np.array([1.0, -1.0], np.float32)
    offset = away * TRACKS.half_width[0] * side
    along_x, along_y = TRACKS.tangent_x[0, lanes.station], TRACKS.tangent_y[0, lanes.station]
    return replace(
        lanes,
        x=TRACKS.x[0, lanes.station] - along_y * offset,
        y=TRACKS.y[0, lanes.station] + along_x * offset,
        heading=np.arctan2(along_y, along_x) + angle * side,
        offset=offset,
        speed=np.full(2, speed, np.float32),
    )


NOBODY, EVERYBODY = np.zeros(2, np.bool_), np.ones(2, np.bool_)


@given(away=st.floats(0.65, 0.99), angle=st.floats(0.02, 1.5))
def test_the_rule_closes_on_the_way_out(away: float, angle: float) -> None:
    assert RuleGate(steering=3).is_closed(moment(on_road(away, angle)), NOBODY).all()
    assert not RuleGate(steering=3).is_closed(moment(on_road(away, -angle)), NOBODY).any()


@given(away=st.floats(0.3, 0.55), angle=st.floats(-0.3, 0.3))
def test_between_centre_and_border_the_rule_keeps_who_drives(away: float, angle: float) -> None:
    here, rule = moment(on_road(away, angle)), RuleGate()
    assert not rule.is_closed(here, NOBODY).any()
    assert rule.is_closed(here, EVERYBODY).all()


@given(angle=st.floats(-0.09, 0.09), away=st.floats(0.0, 0.2))
def test_near_the_centreline_the_rule_opens(angle: float, away: float) -> None:
    assert not RuleGate().is_closed(moment(on_road(away, angle)), EVERYBODY).any()


def test_the_rule_closes_on_disagreement_and_on_standing_still() -> None:
    lanes = on_road(0.0, 0.0)
    for apart in ([0.6, 0.0], [0.0, 1.1], [0.0, -1.1]):
        intended = expert.drive(lanes, TRACKS) + np.array(apart, np.float32)
        assert RuleGate().is_closed(moment(lanes, intended), NOBODY).all()
    assert RuleGate().is_closed(moment(on_road(0.0, 0.0, speed=1.0)), NOBODY).all()


def test_the_angle_to_the_road_has_a_sign_and_no_jump() -> None:
    for angle in (-0.5, 0.0, 0.5):
        found = askew(on_road(0.0, angle), TRACKS)
        assert np.allclose(found, [angle, -angle], atol=1e-5)
    rng = np.random.default_rng(1)
    many = car.start(TRACKS, rng.integers(0, 4, 500), rng)
    assert np.abs(askew(many, TRACKS)).max() < 0.1 + 1e-5


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gating, "DRIVE_STEPS", 200)


def test_the_gate_closes_before_the_car_is_off() -> None:
    rng = np.random.default_rng(2)
    lanes, is_closed = car.start(TRACKS, rng.integers(0, 4, LANES), rng), np.zeros(LANES, np.bool_)
    laps, lost = 0, 0
    for _ in range(800):
        seen = observe(lanes, TRACKS)
        now = Moment(lanes, TRACKS, seen, straight_on(seen), expert.drive(lanes, TRACKS))
        is_closed = RuleGate().is_closed(now, is_closed)
        lanes = car.step(lanes, TRACKS, np.where(is_closed[:, None], now.advised, now.intended))
        off = car.is_off(lanes, TRACKS)
        assert is_closed[off].all()
        lost += int(off.sum())
        laps += int(car.has_lapped(lanes, TRACKS).sum())
        lanes, is_fresh = car.restarted(lanes, TRACKS, rng)
        is_closed = is_closed & ~is_fresh
    assert laps > 20 * lost  # and in time for the expert to save it


@dataclass
class Watched:
    """A gate that remembers what it saw and said."""

    gate: Gate
    said: list[tuple[Moment, Bools]] = field(default_factory=list)

    def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
        self.said.append((moment, self.gate.is_closed(moment, was_closed)))
        return self.said[-1][1]


@pytest.mark.parametrize("labels", [1, 100])
def test_every_recorded_frame_is_the_experts(labels: int) -> None:
    watched = Watched(RuleGate())
    seen = collect_gated(straight_on, watched, TRACKS, labels, seed=3)
    assert len(seen) == labels
    assert seen.taken_over().all()
    under = {
        (o.tobytes(), a.tobytes())
        for now, closed in watched.said
        for o, a in zip(now.observations[closed], now.advised[closed], strict=True)
    }
    recorded = {(o.tobytes(), a.tobytes()) for o, a in zip(seen.observations, seen.actions, strict=True)}
    assert recorded <= under
    assert len(recorded) == labels  # no state is paid for twice


@dataclass(frozen=True)
class Person:
    """A gate with a hand on it: takes over for one stretch of every lap's time, whatever the cars do."""

    signals: list[int]

    def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
        self.signals.append(0)
        return np.full(len(moment.lanes), 10 <= len(self.signals) < 15)


def test_a_person_may_mind_the_gate() -> None:
    assert len(collect_gated(straight_on, Person([]), TRACKS, 1000, seed=4)) == 5 * gating.LANES


def test_who_needs_no_help_is_asked_for_no_labels() -> None:
    @dataclass(frozen=True)
    class Open:
        def is_closed(self, moment: Moment, was_closed: Bools) -> Bools:
            return np.zeros(len(moment.lanes), np.bool_)

    assert len(collect_gated(straight_on, Open(), TRACKS, 250, seed=5)) == 0


def test_the_same_seed_gives_the_same_labels() -> None:
    one, other, third = (collect_gated(straight_on, RuleGate(), TRACKS, 50, seed) for seed in (6, 6, 7))
    assert np.array_equal(one.observations, other.observations)
    assert np.array_equal(one.actions, other.actions)
    assert not np.array_equal(one.observations, third.observations)


def test_a_gate_of_doubt_closes_above_one_threshold_and_opens_below_another() -> None:
    known = collect(None, TRACKS, 200, seed=8)
    ensemble = fit_ensemble(known, seed=8)
    here = moment(on_road(0.0, 0.0))
    doubt = ensemble.doubt(here.observations)
    for closes, opens, was, expected in (
        (0.5, 0.1, NOBODY, True),
        (2.0, 0.5, NOBODY, False),
        (2.0, 0.5, EVERYBODY, True),
        (3.0, 2.0, EVERYBODY, False),
    ):
        gate = DoubtGate(ensemble, closes * float(doubt.min()), opens * float(doubt.min()))
        assert bool(gate.is_closed(here, was)[doubt.argmin()]) is expected
    found = doubt_gate(ensemble, known)
    assert found.opens < found.closes
    assert 0.05 < (ensemble.doubt(known.observations) > found.closes).mean() < 0.15


def test_a_turn_may_need_no_labels_and_each_keeps_who_drove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"family": "medium", "seed": 1, "labels_per_turn": 40, "train_steps": 5, "ask": "gated"}
    learner = driving_learner(options, tmp_path / "peer")
    blobs = [tmp_path / str(turn) for turn in range(5)]
    learner.initial(blobs[0])
    found = [learner.propose(blobs[turn - 1], Round(turn), blobs[turn]) for turn in (1, 2)]
    monkeypatch.setattr(gating.RuleGate, "is_closed", lambda *_: np.zeros(gating.LANES, np.bool_))
    found.append(learner.propose(blobs[2], Round(3), blobs[3]))
    assert [(each.labels, each.labels_total) for each in found] == [(40, 40), (40, 80), (0, 80)]
    kept = Dataset(tmp_path / "peer" / "demonstrations").until(Round(3))  # after a restart
    assert kept.taken_over().tolist() == [False] * 40 + [True] * 40
    again = driving_learner(options, tmp_path / "peer")
    assert again.propose(blobs[2], Round(3), tmp_path / "again").labels == 0
    assert (tmp_path / "again").read_bytes() == blobs[3].read_bytes()
