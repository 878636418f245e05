"""What five peers with five private families of tracks learn together, and what each of them learns alone.

    python bench/learning.py --seed 0 [--order tight-first] [--rounds 20] [--labels 250]

The real learners, one process, no network. Turn order is drawn anew for each cycle of five from the seed,
unless --order names a fixed one. Votes and outcomes are the protocol's own (SPEC.md, choice_for, tally).
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from learners import weights
from learners.driving.family import FAMILIES
from learners.driving.learner import driving_learner
from learners.driving.policy import policy_of
from learners.driving.rollout import by_sight
from learners.driving.score import held_out, lap_success
from learners.learner import Comparison
from protocol.ids import Ppm, Round, digest_of
from protocol.params import LearnerRef, Params
from protocol.rules import choice_for, count_of, tally

NAMES = list(FAMILIES)
ORDERS = {
    "easy-first": NAMES,
    "tight-first": NAMES[::-1],
    "tight-narrow-first": [NAMES[4], *NAMES[:4]],
}
_ANY = digest_of(b"")
RULES = Params(learner=LearnerRef(name="driving", spec=_ANY), initial=_ANY)
"""The default parameters of a run, but for --approval; the learner goes without saying here."""


def main() -> None:
    """Run one experiment and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--order", choices=["drawn", *ORDERS], default="drawn")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--labels", type=int, default=250)
    parser.add_argument("--approval", type=int, default=RULES.approval, help="ppm of the decisive votes")
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--alone", action="store_true", help="also train each peer alone on its own share")
    parser.add_argument("--options", default="{}", help="JSON of further options of every learner")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(experiment(arguments, Path(folder))) + "\n")


def experiment(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """One run; success is the share of laps completed on fresh tracks, per family."""
    began = time.perf_counter()
    common = {"labels_per_turn": arguments.labels, **json.loads(arguments.options)}
    peers = {
        name: driving_learner({"family": name, "seed": arguments.seed * 5 + index, **common}, folder / name)
        for index, name in enumerate(NAMES)
    }
    fresh = held_out(list(FAMILIES.values()), arguments.tracks)

    def success(blob: Path) -> dict[str, float]:
        tensors = weights.load(blob, peers[NAMES[0]].describe())
        shares = lap_success(by_sight(policy_of(tensors)), fresh, len(FAMILIES))
        return {"mean": round(sum(shares) / len(shares), 3)} | dict(zip(NAMES, shares, strict=True))

    head = folder / "initial"
    peers[NAMES[0]].initial(head)
    before, rounds = success(head), []
    rules = RULES.model_copy(update={"approval": Ppm(arguments.approval)})
    for number, proposer in zip(range(1, arguments.rounds + 1), _turns(arguments), strict=False):
        candidate = folder / f"candidate-{number}"
        peers[proposer].propose(head, Round(number), candidate)
        found = [peers[name].score(head, candidate, Round(number)) for name in NAMES if name != proposer]
        is_accepted = _is_accepted(found, rules)
        rounds.append(f"{NAMES.index(proposer)}{'+' if is_accepted else '-'}")
        head = candidate if is_accepted else head
    seconds = round(time.perf_counter() - began, 1)
    result: dict[str, object] = {
        "seed": arguments.seed,
        "order": arguments.order,
        "approval": arguments.approval,
        "initial": before["mean"],
        "together": success(head),
        "rounds": " ".join(rounds),
        "seconds": seconds,
    }
    if arguments.alone:
        result["alone"] = {name: success(_alone(name, arguments, common, folder)) for name in NAMES}
    return result


def _turns(arguments: argparse.Namespace) -> Iterator[str]:
    rng = random.Random(arguments.seed)
    while True:
        yield from ORDERS.get(arguments.order) or rng.sample(NAMES, len(NAMES))


def _is_accepted(found: list[Comparison], rules: Params) -> bool:
    votes = [choice_for(seen.gain, seen.error) for seen in found]
    return tally(count_of(votes, len(NAMES)), rules) == "accepted"


def _alone(name: str, arguments: argparse.Namespace, common: dict[str, object], folder: Path) -> Path:
    options = {"family": name, "seed": arguments.seed * 5 + NAMES.index(name), **common}
    learner = driving_learner(options, folder / f"alone-{name}")
    head = folder / "initial"
    for number in range(1, arguments.rounds // len(NAMES) + 1):
        candidate = folder / f"alone-{name}-{number}"
        learner.propose(head, Round(number), candidate)
        head = candidate
    return head


if __name__ == "__main__":
    main()
