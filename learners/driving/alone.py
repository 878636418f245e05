"""What a peer reaches without the others: `python -m learners.driving.alone --help`."""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from learners.driving.learner import driving_learner
from learners.learner import LearnerError
from protocol.ids import Round


def train_alone(options: Mapping[str, object], turns: int, data: Path, out: Path) -> None:
    """The same learner with the same share of labels, adopting each of its own candidates.

    data: a folder of its own, not the one of a peer that takes part. Raises LearnerError.
    """
    learner = driving_learner(options, data)
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "0"
        learner.initial(head)
        for turn in range(1, turns + 1):
            candidate = Path(folder) / str(turn)
            learner.propose(head, Round(turn), candidate)
            head = candidate
        out.write_bytes(head.read_bytes())


def main() -> None:
    """The command; exits 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m learners.driving.alone", description=__doc__)
    parser.add_argument("--options", required=True, help="the learner's options, a JSON object")
    parser.add_argument("--turns", type=int, required=True, help="how often it trains")
    parser.add_argument("--data", type=Path, required=True, help="an empty folder for its demonstrations")
    parser.add_argument("--out", type=Path, required=True, help="where its final weights go")
    arguments = parser.parse_args()
    try:
        train_alone(json.loads(arguments.options), arguments.turns, arguments.data, arguments.out)
    except (LearnerError, OSError, ValueError) as fault:
        parser.exit(2, f"cannot train: {fault}\n")


if __name__ == "__main__":
    main()
