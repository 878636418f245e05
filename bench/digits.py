"""Handwritten digits among five peers: in turns, merged, and pooled with the same compute as each.

    python -m bench.digits [--seeds 0-4] [--rounds 60] [--json]

A round is one local epoch: of the proposer alone (`turns`), or of everybody (`merged`). Pooled learning sees as many
images as all rounds of a row together. Accuracy is of the final head, on the union of the test parts.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.collective import Collective, Peer
from learners import weights
from learners.digits.data import Digits, Share, share_of
from learners.digits.learner import DigitsLearner
from learners.digits.network import BATCH, accuracy, fit, initial_weights

ROWS = ("turns", "merged", "pooled_as_turns", "pooled_as_merged")


@dataclass(frozen=True, slots=True)
class Found:
    """What one run came to."""

    accuracy: float
    accepted: float | None
    """The share of rounds; None: nobody votes."""


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=5)
    parser.add_argument("--seeds", default="0-4", help="first-last: divisions of the images among the peers")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, _, last = arguments.seeds.partition("-")
    found: dict[str, list[Found]] = {row: [] for row in ROWS}
    for seed in range(int(first), int(last or first) + 1):
        shares = [share_of(place, arguments.peers, seed) for place in range(arguments.peers)]
        test = _union([share.test for share in shares])
        found["turns"].append(together(arguments, seed, test, merges=False))
        found["merged"].append(together(arguments, seed, test, merges=True))
        found["pooled_as_turns"].append(pooled(shares, test, arguments.rounds / arguments.peers, seed))
        found["pooled_as_merged"].append(pooled(shares, test, arguments.rounds, seed))
    sys.stdout.write(table(found))
    if arguments.json:
        columns = {
            row: {"accuracy": [each.accuracy for each in runs], "accepted": [each.accepted for each in runs]}
            for row, runs in found.items()
        }
        sys.stdout.write(json.dumps(columns) + "\n")


def together(arguments: argparse.Namespace, seed: int, test: Digits, merges: bool) -> Found:
    """A run by the protocol's rules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = [
            Peer(str(place), DigitsLearner({"learner": place, "of": arguments.peers, "seed": seed}, folder))
            for place in range(arguments.peers)
        ]
        run = Collective(peers, folder, merges=merges, params={"max_rounds": 10_000 + seed})
        run.play(arguments.rounds)
        head = weights.load(run.head, peers[0].learner.describe())
    accepted = sum(each.ending == "accepted" for each in run.played) / arguments.rounds
    return Found(round(accuracy(head, test), 4), round(accepted, 3))


def pooled(shares: list[Share], test: Digits, epochs: float, seed: int) -> Found:
    """One learner with everybody's training images; its optimiser begins anew with each epoch, as the peers' do."""
    everything, head = _union([share.training for share in shares]), initial_weights()
    for epoch in range(round(epochs)):
        head, _ = fit(head, everything, seed * 1000 + epoch)
    return Found(round(accuracy(head, test), 4), None)


def _union(parts: list[Digits]) -> Digits:
    return Digits(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def table(found: dict[str, list[Found]]) -> str:
    """In Markdown."""
    lines = [f"Batches of {BATCH}.", "", "| row | accuracy | mean | accepted |", "| --- | --- | --- | --- |"]
    for row, runs in found.items():
        each = ", ".join(f"{run.accuracy:.3f}" for run in runs)
        shares = [run.accepted for run in runs if run.accepted is not None]
        accepted = f"{statistics.mean(shares):.2f}" if shares else ""
        lines.append(f"| {row} | {each} | {statistics.mean(run.accuracy for run in runs):.3f} | {accepted} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
