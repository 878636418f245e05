"""What a vote costs: seconds of one core to drive 64 validation tracks, beside one car after another.

    python -m bench.rollouts [--tracks 64] [--json]

The policy is fitted to the expert first, so that it drives whole laps: the longest there are.
"""

import argparse
import json
import sys
import time

import torch

from learners.driving.dagger import Schedule, collect, fit
from learners.driving.dataset import EMPTY
from learners.driving.family import ALL_FAMILIES
from learners.driving.policy import initial_weights, policy_of, tensor_specs
from learners.driving.rollout import by_sight, laps
from learners.driving.track import Tracks, make_tracks, stack, training_seeds, validation_seeds

AT_A_TIME = 4
"""Tracks that are also driven one after the other, for comparison."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: measure(name, arguments.tracks) for name in ("gentle-wide", "medium", "tight-narrow")}
    for name, each in found.items():
        sys.stdout.write(
            f"{name}: {each['seconds']:.3f} s for {arguments.tracks} tracks, {each['laps']:.2f} of them completed; "
            f"one after the other {each['alone']:.1f} times as long\n"
        )
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")


def measure(name: str, count: int) -> dict[str, float]:
    """Seconds of the processor for one policy on `count` validation tracks of a family."""
    family = ALL_FAMILIES[name]
    taught = collect(None, stack(make_tracks(training_seeds(0, 16), family)), 2000, seed=0)
    fitted, _ = fit(initial_weights(tensor_specs(64)), taught, EMPTY, Schedule(), seed=0)
    pilot = by_sight(policy_of(fitted))
    made = make_tracks(validation_seeds(0, count), family)

    def timed(tracks: Tracks) -> tuple[float, float]:
        began = time.process_time()
        completed = float((laps(pilot, tracks, 1) == 1).mean())
        return time.process_time() - began, completed

    seconds, completed = timed(stack(made))
    alone = sum(timed(stack([track]))[0] for track in made[:AT_A_TIME]) / AT_A_TIME * count
    return {"seconds": round(seconds, 4), "laps": completed, "alone": round(alone / seconds, 1)}


if __name__ == "__main__":
    main()
