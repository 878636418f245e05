"""A run of real learners in one process, and the digests of all that it made: `python -m tests.learners.digests`.

With `--strict` torch refuses each operation of which it knows that it may come out otherwise another time.
Prints one JSON object. Turn order and outcomes are the protocol's own rules; there is no network.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from learners.digits.learner import DigitsLearner
from learners.driving.learner import driving_learner
from learners.learner import Learner
from protocol.ids import Round, digest_of
from protocol.params import LearnerRef, Params
from protocol.rules import choice_for, count_of, tally

PEERS = 3
ROUNDS = 6
_ANY = digest_of(b"")
RULES = Params(learner=LearnerRef(name="any", spec=_ANY), initial=_ANY, min_approvals=0)
DRIVING = {
    "labels_per_turn": 40, "train_tracks": 2, "validation_tracks": 2, "validation_starts": 2, "train_steps": 30,
}  # fmt: skip
FAMILIES = ("gentle-wide", "medium", "tight-narrow")


def run(learners: Sequence[Learner], folder: Path) -> list[object]:
    """What each round made: the candidate's digest, each vote, and what became of it."""
    head, made = folder / "head-0", []
    learners[0].initial(head)
    for number in range(1, ROUNDS + 1):
        proposer, candidate = number % len(learners), folder / f"head-{number}"
        training = learners[proposer].propose(head, Round(number), candidate)
        others = [learner for place, learner in enumerate(learners) if place != proposer]
        found = [learner.score(head, candidate, Round(number)) for learner in others]
        votes = [(choice_for(each.gain, each.error), each.gain, each.error) for each in found]
        outcome = tally(count_of([choice for choice, _, _ in votes], len(learners)), RULES)
        made.append([digest_of(candidate.read_bytes()), training.loss, votes, outcome])
        head = candidate if outcome == "accepted" else head
    return made


def main() -> None:
    """Both families of learners."""
    torch.use_deterministic_algorithms("--strict" in sys.argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "driving").mkdir()
        (folder / "digits").mkdir()
        driving = [
            driving_learner({"family": family, "seed": seed, **DRIVING}, folder / f"peer-{seed}")
            for seed, family in enumerate(FAMILIES)
        ]
        digits = [DigitsLearner({"learner": n, "of": PEERS}, folder / "none") for n in range(PEERS)]
        made = {"driving": run(driving, folder / "driving"), "digits": run(digits, folder / "digits")}
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    main()
