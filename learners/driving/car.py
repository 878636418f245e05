"""A kinematic bicycle on a track, for many lanes at once; one lane is one car that is alone on its track."""

from dataclasses import dataclass, fields

import numpy as np

from learners.driving.track import POINTS, Bools, Floats, Ints, Tracks

STEP_SECONDS = 0.05
MAX_STEPS = 1200
"""A lap that takes longer, 60 s, is not completed."""
WHEELBASE = 2.6
MAX_STEERING = 0.5
"""Radians of the front wheels."""
STEERING_RATE = 1.5
"""Radians per second."""
MAX_SPEED = 25.0
GRAVITY = 9.81

_ACCELERATION = 4.0
_BRAKING = 8.0
_DRAG = 0.02
# A car moves at most 1.25 m a step, two points of the shortest track, so its next nearest point is in here.
_NEAR = np.arange(-2, 9)


@dataclass(frozen=True, slots=True)
class Lanes:
    """The state of every lane; each field is (lanes,)."""

    track: Ints
    """Which of the tracks the lane is on."""
    x: Floats
    y: Floats
    heading: Floats
    speed: Floats
    steering: Floats
    station: Ints
    """The nearest centreline point."""
    offset: Floats
    """Metres left of the centreline."""
    travelled: Floats
    """Metres along the centreline since the start."""

    def __len__(self) -> int:
        return len(self.track)

    def keep(self, chosen: Bools) -> "Lanes":
        """Only the chosen lanes, in order; dropping the finished ones makes rollouts fast."""
        return self if chosen.all() else self.taken(np.flatnonzero(chosen))

    def taken(self, places: Ints) -> "Lanes":
        """The lanes at some places, in that order; a place may come more than once."""
        return Lanes(**{field.name: getattr(self, field.name)[places] for field in fields(self)})

    def replaced(self, chosen: Bools, by: "Lanes") -> "Lanes":
        """These lanes, the chosen ones exchanged for those of another batch of the same size."""
        return Lanes(
            **{
                field.name: np.where(chosen, getattr(by, field.name), getattr(self, field.name))
                for field in fields(self)
            }
        )


def start(tracks: Tracks, which: Ints, rng: np.random.Generator) -> Lanes:
    """Cars at random places of their tracks, near the centreline, rolling. which: (lanes,) tracks."""
    lanes = len(which)
    station = rng.integers(0, POINTS, lanes)
    offset = rng.uniform(-0.2, 0.2, lanes).astype(np.float32) * tracks.half_width[which]
    askew = rng.uniform(-0.1, 0.1, lanes).astype(np.float32)
    speed = rng.uniform(3.0, 8.0, lanes).astype(np.float32)
    tangent_x, tangent_y = tracks.tangent_x[which, station], tracks.tangent_y[which, station]
    return Lanes(
        track=which,
        x=tracks.x[which, station] - tangent_y * offset,
        y=tracks.y[which, station] + tangent_x * offset,
        heading=np.arctan2(tangent_y, tangent_x) + askew,
        speed=speed,
        steering=np.zeros(lanes, np.float32),
        station=station,
        offset=offset,
        travelled=np.zeros(lanes, np.float32),
    )


def step(lanes: Lanes, tracks: Tracks, actions: Floats) -> Lanes:
    """Every lane, STEP_SECONDS on. actions: (lanes, 2) in [-1, 1], steering (left positive) and throttle."""
    command = actions.clip(-1, 1)
    reach = STEERING_RATE * STEP_SECONDS
    steering = lanes.steering + (command[:, 0] * MAX_STEERING - lanes.steering).clip(-reach, reach)
    throttle = command[:, 1]
    push = np.where(throttle > 0, throttle * _ACCELERATION, throttle * _BRAKING) - _DRAG * lanes.speed
    speed = (lanes.speed + push * STEP_SECONDS).clip(0, MAX_SPEED)
    # The tyres allow no faster turn: the car runs wide.
    grip = tracks.friction[lanes.track] * GRAVITY / speed.clip(1.0, None)
    turn = (speed * np.tan(steering) / WHEELBASE).clip(-grip, grip)
    heading = lanes.heading + turn * STEP_SECONDS
    x = lanes.x + speed * np.cos(heading) * STEP_SECONDS
    y = lanes.y + speed * np.sin(heading) * STEP_SECONDS
    moved, station, offset = _project(x, y, lanes, tracks)
    return Lanes(
        track=lanes.track,
        x=x,
        y=y,
        heading=heading,
        speed=speed,
        steering=steering,
        station=station,
        offset=offset,
        travelled=lanes.travelled + moved * tracks.spacing[lanes.track],
    )


def is_off(lanes: Lanes, tracks: Tracks) -> Bools:
    """Which cars have left their tracks."""
    return np.abs(lanes.offset) > tracks.half_width[lanes.track]


def has_lapped(lanes: Lanes, tracks: Tracks) -> Bools:
    """Which cars have gone once around."""
    return lanes.travelled >= tracks.length[lanes.track]


def progress(lanes: Lanes, tracks: Tracks) -> Floats:
    """The share of the lap that each car has done, in [0, 1]."""
    return (lanes.travelled / tracks.length[lanes.track]).clip(0, 1)


def restarted(lanes: Lanes, tracks: Tracks, rng: np.random.Generator) -> tuple[Lanes, Bools]:
    """Every lane that is off its track or has lapped, started anew on a track drawn; and which those are."""
    is_over = is_off(lanes, tracks) | has_lapped(lanes, tracks)
    if not is_over.any():
        return lanes, is_over
    fresh = start(tracks, rng.integers(0, len(tracks), len(lanes)), rng)
    return lanes.replaced(is_over, fresh), is_over


def _project(x: Floats, y: Floats, lanes: Lanes, tracks: Tracks) -> tuple[Floats, Ints, Floats]:
    """Points moved along the centreline, the nearest point, and the offset from the centreline there."""
    near = lanes.track[:, None] * POINTS + (lanes.station[:, None] + _NEAR) % POINTS
    away_x, away_y = x[:, None] - tracks.x.take(near), y[:, None] - tracks.y.take(near)
    nearest = (away_x * away_x + away_y * away_y).argmin(axis=1)
    row = np.arange(len(lanes))
    point = near[row, nearest]
    offset = tracks.tangent_x.take(point) * away_y[row, nearest]
    offset -= tracks.tangent_y.take(point) * away_x[row, nearest]
    return _NEAR[nearest].astype(np.float32), point - lanes.track * POINTS, offset
