"""Lap success of weights on fresh tracks: `python -m learners.driving.evaluate --weights FILE...`, a JSON line each."""

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import torch

from learners import weights
from learners.driving.family import FAMILIES
from learners.driving.policy import policy_of, tensor_specs
from learners.driving.rollout import by_sight
from learners.driving.score import held_out, lap_success
from learners.driving.track import MAX_TRACKS, Tracks
from learners.driving.world import TrackWorld
from learners.learner import BadWeights, LearnerSpec

HIDDEN = 64
"""Units of each hidden layer, where nothing else is said."""


@cache
def _tracks(count: int) -> Tracks:
    return held_out(list(FAMILIES.values()), count)


def measure(file: Path, count: int, hidden: int = HIDDEN) -> dict[str, float]:
    """Lap success of weights by family, on `count` held-out tracks of each. Raises BadWeights, OSError."""
    spec = LearnerSpec("driving", tensor_specs(hidden), TrackWorld.scorer)
    pilot = by_sight(policy_of(weights.load(file, spec)))
    return dict(zip(FAMILIES, lap_success(pilot, _tracks(count), len(FAMILIES)), strict=True))


def main() -> None:
    """The command; exits 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m learners.driving.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks of each family")
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="units of each hidden layer")
    arguments = parser.parse_args()
    if not 1 <= arguments.tracks <= MAX_TRACKS:
        parser.error(f"--tracks is 1..{MAX_TRACKS}")
    torch.set_num_threads(1)
    for file in arguments.weights:
        try:
            found = measure(file, arguments.tracks, arguments.hidden)
        except (BadWeights, OSError) as fault:
            parser.exit(2, f"cannot evaluate {file}: {fault}\n")
        sys.stdout.write(json.dumps({"weights": str(file), "lap_success": found}) + "\n")


if __name__ == "__main__":
    main()
