"""What peers with private roads learn alone, with their data pooled, and together: one table in one run.

    python -m bench.driving [--peers 5] [--seeds 0-4] [--orders given,reversed,drawn] [--labels 5000] [--json]

Each peer has a family of tracks of its own (curvature x width x friction; none shared). All rows have the same
expert labels in all, the same network and the same starting weights, and are measured on the same held-out tracks
of every family.

    alone    each peer on its own share of the labels; the mean over the peers
    pooled   DAgger on all peers' tracks and labels in one place: the ceiling
    fedavg   every peer trains each round, weights are averaged (McMahan et al. 2017), nobody votes
    colearn  in turns one peer trains; its weights are adopted where more than half are strictly better off
    ours     Roundabout: updates merged by the proposer, three-valued votes, ties accept
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch

from bench.driven import Result, Task
from bench.driving_rows import RUNS
from learners.driving.family import ALL_FAMILIES

ROWS = tuple(RUNS)
ORDERS = ("given", "reversed", "drawn")


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=5, choices=range(2, len(ALL_FAMILIES) + 1), metavar="N")
    parser.add_argument("--seeds", default="0-4", help="first-last")
    parser.add_argument("--orders", default="drawn", help=f"of {', '.join(ORDERS)}, with commas between")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--labels", type=int, default=5000, help="expert labels in all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks of each family")
    parser.add_argument(
        "--approval", type=int, default=500_000, help="ppm of the decisive votes, by our rule"
    )
    parser.add_argument(
        "--min-approvals", type=int, default=0, help="by others than the proposer, by our rule"
    )
    parser.add_argument("--ask", default="drawn", help="what our peers' labels are spent on")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    tasks = list(_tasks(arguments))
    results = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for result in pool.map(run, tasks):
            results.append(result)
            sys.stderr.write(json.dumps(asdict(result)) + "\n")
    sys.stdout.write(table(results))
    if arguments.json:
        sys.stdout.write(json.dumps({row: _columns(results, row) for row in ROWS}) + "\n")


def _tasks(arguments: argparse.Namespace) -> Iterator[Task]:
    first, _, last = arguments.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        for row in arguments.rows.split(","):
            # Where nobody takes turns, their order changes nothing.
            orders = ("drawn",) if row in ("alone", "pooled", "fedavg") else arguments.orders.split(",")
            for order in orders:
                yield Task(
                    row,
                    arguments.peers,
                    seed,
                    order,
                    arguments.labels,
                    arguments.rounds,
                    arguments.tracks,
                    arguments.approval,
                    arguments.min_approvals,
                    arguments.ask,
                )


def run(task: Task) -> Result:
    """One run of one row, in a process of its own."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return RUNS[task.row](task, Path(folder))


def _columns(results: Sequence[Result], row: str) -> dict[str, list[object]]:
    """A row's figures, one entry for each seed and order."""
    own = [asdict(result) for result in results if result.row == row]
    return {key: [each[key] for each in own] for key in asdict(results[0]) if key != "row"}


def table(results: Sequence[Result]) -> str:
    """The table in Markdown: means over the seeds, and the least of them."""
    lines = [
        "| row | order | lap success | least | worst family | least | progress | interventions a lap | labels"
        " | seconds | work | MB a round |",
        "| --- |" + " --- |" * 11,
    ]
    for row in ROWS:
        for order in ORDERS:
            own = [each for each in results if (each.row, each.order) == (row, order)]
            if not own:
                continue
            mean = {
                key: statistics.mean(getattr(each, key) for each in own)
                for key in (
                    "mean",
                    "worst_family",
                    "progress",
                    "interventions",
                    "labels",
                    "seconds",
                    "work",
                    "sent",
                )
            }
            least, worst = min(each.mean for each in own), min(each.worst_family for each in own)
            lines.append(
                f"| {row} | {order} | {mean['mean']:.3f} | {least:.3f} | {mean['worst_family']:.3f} | {worst:.2f}"
                f" | {mean['progress']:.3f} | {mean['interventions']:.2f} | {mean['labels']:.0f}"
                f" | {mean['seconds']:.1f} | {mean['work']:.1f} | {mean['sent'] / 1e6:.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
