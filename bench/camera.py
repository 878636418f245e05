"""What a camera policy learns alone: laps by what it was shown (closed loop), and steering error (open loop).

    python bench/camera.py [--family medium] [--seeds 2] [--turns 6] [--labels 250] [--steps 600] [--tracks 100]
    python bench/camera.py --open [--drives 20]
    python bench/camera.py --picture docs/camera.png

One JSON line a turn; seconds are of the processor. The picture shows tracks from above and what cars see there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from learners import weights
from learners.camera.learner import CameraLearner, camera_learner
from learners.camera.pictures import png_of
from learners.camera.tracks import by_camera
from learners.data.dataset import open_dataset
from learners.data.episode import Episode, Features, ImageShape
from learners.driving import car, expert
from learners.driving.family import FAMILIES
from learners.driving.score import held_out, lap_success
from learners.driving.track import Tracks, held_out_seeds, make_tracks, stack, training_seeds
from learners.driving.view import Camera, view
from protocol.ids import Round

CAMERA = Camera(32, 64)
DRIVE_SECONDS = 30


def main() -> None:
    """Run one experiment, or draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=list(FAMILIES), default="medium")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--labels", type=int, default=250)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks that are driven")
    parser.add_argument("--open", action="store_true", help="learn from the expert's recorded drives instead")
    parser.add_argument("--drives", type=int, default=20, help=f"how many, {DRIVE_SECONDS} s each")
    parser.add_argument("--picture", type=Path, help="draw this, and do nothing else")
    arguments = parser.parse_args()
    if arguments.picture:
        draw(arguments.picture)
        return
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for line in experiment(arguments, seed, Path(folder)):
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()


def experiment(arguments: argparse.Namespace, seed: int, folder: Path) -> Iterator[dict[str, object]]:
    """A learner alone, measured after each turn: lap success on fresh tracks, and on recordings the mean error."""
    options: dict[str, object] = {"seed": seed, "train_steps": arguments.steps}
    if arguments.open:
        record(folder / "dataset", arguments.family, arguments.drives, seed)
    else:
        options |= {"world": "tracks", "family": arguments.family, "labels_per_turn": arguments.labels}
    learner = camera_learner(options, folder)
    head = folder / "0"
    learner.initial(head)
    tracks = held_out([FAMILIES[arguments.family]], arguments.tracks)
    for turn in range(1, arguments.turns + 1):
        began = time.process_time()
        candidate = folder / str(turn)
        training = learner.propose(head, Round(turn), candidate)
        trained = time.process_time()
        error = _steering_error(learner, head, candidate, turn) if arguments.open else {}
        policy = weights.load(candidate, learner.describe())
        driving = time.process_time()
        (success,) = lap_success(by_camera(policy, CAMERA), tracks, 1)
        yield {
            "family": arguments.family, "seed": seed, "turn": turn, "labels": training.labels_total,
            "laps": round(success, 3), **error, "train_s": round(trained - began, 1),
            "drive_s": round(time.process_time() - driving, 1),
        }  # fmt: skip
        head = candidate


def _steering_error(learner: CameraLearner, head: Path, candidate: Path, turn: int) -> dict[str, object]:
    """The mean error before and after; 1 is straight on for full lock."""
    seen = learner.score(head, candidate, Round(turn))
    return {
        "error_before": round(1 - seen.head / 1e6, 4),
        "error_after": round(1 - seen.candidate / 1e6, 4),
        "standard_error": round(seen.error / 1e6, 4),
    }


def record(folder: Path, family: str, drives: int, seed: int) -> None:
    """The expert's drives on private tracks of a family, as a camera would have recorded them."""
    tracks = stack(make_tracks(training_seeds(seed, drives), FAMILIES[family]))
    lanes = car.start(tracks, np.arange(drives), np.random.default_rng(seed))
    states, actions, images = [], [], []
    steps = round(DRIVE_SECONDS / car.STEP_SECONDS)
    for _ in range(steps):
        wanted = expert.drive(lanes, tracks)
        states.append(lanes.speed)
        actions.append(wanted)
        images.append(view(lanes, tracks, CAMERA))
        lanes = car.step(lanes, tracks, wanted)
    speeds, done = np.array(states, np.float32), np.array(actions, np.float32)
    shape = ImageShape(CAMERA.height, CAMERA.width, channels=1)
    features = Features(round(1 / car.STEP_SECONDS), ("speed",), ("steering", "throttle"), shape)
    dataset = open_dataset(folder, create=features)
    for drive in range(drives):
        dataset.append(
            Episode(
                speeds[:, drive, None],
                done[:, drive],
                np.zeros(steps, bool),
                np.arange(steps) * car.STEP_SECONDS,
                tuple(png_of(image[drive]) for image in images),
            )
        )


def draw(file: Path) -> None:
    """Two tracks from above, and what three cars on each see."""
    from matplotlib.figure import Figure  # only for pictures

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    rows = figure.subfigures(2, 1)
    for row, name in zip(rows, ("medium", "tight-narrow"), strict=True):
        tracks = stack(make_tracks(held_out_seeds(4)[3:], FAMILIES[name]))
        lanes = _three_cars(tracks)
        above, *views = row.subplots(1, 4, width_ratios=[1, 1.5, 1.5, 1.5])
        borders = list(zip(tracks.border_x[0], tracks.border_y[0], strict=True))
        for (x, y), colour in zip(
            sorted(borders, key=lambda border: -np.ptp(border[0])), ("0.7", "white"), strict=True
        ):
            above.fill(x, y, facecolor=colour, edgecolor="black", linewidth=0.6)
        above.quiver(
            lanes.x, lanes.y, np.cos(lanes.heading), np.sin(lanes.heading), color="tab:red", width=0.02
        )
        above.set_aspect("equal")
        above.set_axis_off()
        above.set_title(name, fontsize=9)
        steering = expert.drive(lanes, tracks)[:, 0]
        for number, (place, image) in enumerate(zip(views, view(lanes, tracks, CAMERA), strict=True)):
            above.annotate(str(number + 1), (lanes.x[number], lanes.y[number]), fontsize=9, color="tab:red")
            place.imshow(image, cmap="gray", vmin=0, vmax=255)
            place.set_title(f"{number + 1}: the expert steers {steering[number]:+.2f}", fontsize=9)
            place.set_axis_off()
    figure.savefig(file, dpi=90)


def _three_cars(tracks: Tracks) -> car.Lanes:
    """Cars in the sharpest bends to the left and to the right, and near a border."""
    curvature = tracks.curvature[0]
    station = np.array([curvature.argmax(), curvature.argmin(), np.abs(curvature).argmin()])
    station[:2] -= 6  # so that the bend lies ahead
    lanes = car.start(tracks, np.zeros(3, np.int64), np.random.default_rng(0))
    along_x, along_y = tracks.tangent_x[0, station], tracks.tangent_y[0, station]
    offset = np.array([0, 0, 0.6 * tracks.half_width[0]], np.float32)
    return replace(
        lanes,
        station=station % tracks.x.shape[1],
        x=tracks.x[0, station] - along_y * offset,
        y=tracks.y[0, station] + along_x * offset,
        heading=np.arctan2(along_y, along_x),
    )


if __name__ == "__main__":
    main()
