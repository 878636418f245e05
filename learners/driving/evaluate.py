"""Lap success of weights on fresh tracks: `python -m learners.driving.evaluate --weights FILE...`."""

import argparse
import json
import sys
from pathlib import Path

import torch

from learners import weights
from learners.driving.family import FAMILIES
from learners.driving.policy import policy_of, tensor_specs
from learners.driving.rollout import by_sight
from learners.driving.score import SCORER, held_out, lap_success
from learners.driving.track import MAX_TRACKS
from learners.learner import BadWeights, LearnerSpec


def evaluate(files: list[Path], count: int, hidden: int) -> list[dict[str, object]]:
    """For each file its lap success per family, their mean and worst, on `count` held-out tracks of each.

    Raises BadWeights, OSError.
    """
    spec = LearnerSpec("driving", tensor_specs(hidden), SCORER)
    policies = [policy_of(weights.load(file, spec)) for file in files]  # all are read before hours are spent
    tracks = held_out(list(FAMILIES.values()), count)
    results: list[dict[str, object]] = []
    for file, policy in zip(files, policies, strict=True):
        shares = lap_success(by_sight(policy), tracks, len(FAMILIES))
        families = dict(zip(FAMILIES, shares, strict=True))
        results.append(
            {
                "weights": str(file),
                "mean": sum(shares) / len(shares),
                "worst": min(shares),
                "families": families,
            }
        )
    return results


def main() -> None:
    """The command; exits 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m learners.driving.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks of each family")
    parser.add_argument("--hidden", type=int, default=64, help="units of each hidden layer")
    parser.add_argument("--json", action="store_true", help="one JSON list on standard output")
    arguments = parser.parse_args()
    if not 1 <= arguments.tracks <= MAX_TRACKS:
        parser.error(f"--tracks is 1..{MAX_TRACKS}")
    torch.set_num_threads(1)
    try:
        results = evaluate(arguments.weights, arguments.tracks, arguments.hidden)
    except (BadWeights, OSError) as fault:
        parser.exit(2, f"cannot evaluate: {fault}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(results) + "\n")
        return
    for result in results:
        sys.stdout.write(f"{result['weights']}: mean {result['mean']:.3f}, worst {result['worst']:.2f}\n")


if __name__ == "__main__":
    main()
