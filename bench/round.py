"""What a round costs beyond training and scoring, next to colearn over gRPC on the same task.

    python -m bench.round [--peers 5] [--rounds 60] [--turns 3] [--seed 0] [--venv DIR] [--out DIR] [--json]

Real daemons with real keys, libp2p and the embedded Hedera network, each with a learner of handwritten digits;
then colearn's PyPI release, each learner in a process of its own, on the same division of the same images. They
take turns; each figure is the median over the rounds of the best turn. `--peers 4,8,16,32` shows how time grows.
"""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import torch

from bench.colearn_venv import python_of
from bench.digits_run import Outcome, run_digits
from bench.memory import Memory
from learners import weights
from learners.digits.data import Digits, share_of
from learners.digits.network import TENSORS, accuracy
from node.blobs import stored_blob

CURVE = (15, 30, 60)
"""Rounds after which the head's accuracy is told."""
AIM_BEYOND_MS, AIM_MEMORY_MB = 36.0, 421.0
_MB = 2**20


def main() -> None:
    """Measure, and print what was found."""
    asked = _arguments()
    # Told to end, it ends its daemons too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = [_compare(asked, peers) for peers in asked.peers]
    for result in results:
        _show(result)
    if asked.json:
        aim = {"beyond_ms": AIM_BEYOND_MS, "participant_rss_mb": AIM_MEMORY_MB}
        print(json.dumps({"bench": "round", "rounds": asked.rounds, "aim": aim, "results": results}))  # noqa: T201


def _compare(asked: argparse.Namespace, peers: int) -> dict[str, Any]:
    """Both on one number of peers, in turns; the best turn of each counts."""
    ours, theirs = [], []
    for turn in range(asked.turns):
        out = asked.out / f"{peers}-peers"
        outcome = anyio.run(run_digits, peers, asked.rounds, asked.seed + turn, out / "roundabout")
        ours.append(_ours(outcome, peers, asked.seed + turn))
        if not asked.alone:
            theirs.append(_colearn(asked, peers, asked.seed + turn, out / "colearn"))
    found: dict[str, Any] = {"peers": peers, "roundabout": min(ours, key=_round_ms)}
    if theirs:
        found["colearn"] = min(theirs, key=_round_ms)
        found["round_ratio"] = round(_round_ms(found["roundabout"]) / _round_ms(found["colearn"]), 2)
    return found


def _round_ms(figures: dict[str, Any]) -> float:
    return float(figures["round_ms"])


def _ours(outcome: Outcome, peers: int, seed: int) -> dict[str, Any]:
    rounds = len(outcome.counted)
    cpu = sum(use.cpu for use in (*outcome.daemons, *outcome.learners, outcome.localnet))
    daemon, learner = (_mean([use.memory for use in uses]) for uses in (outcome.daemons, outcome.learners))
    return {
        **{f"{name}_ms": value for name, value in outcome.medians().items()},
        "cpu_ms": round(1e3 * cpu / rounds, 1),
        "daemon_cpu_ms": round(1e3 * sum(use.cpu for use in outcome.daemons) / rounds / peers, 1),
        "rss_mb": round(daemon[0] + learner[0], 1),
        "pss_mb": round(daemon[1] + learner[1], 1),
        "daemon_rss_mb": round(daemon[0], 1),
        "learner_rss_mb": round(learner[0], 1),
        "accepted": sum(r.ending == "accepted" for r in outcome.rounds),
        "accuracy": _curve(outcome, peers, seed),
    }


def _mean(found: list[Memory]) -> tuple[float, float]:
    """RSS and PSS in MB."""
    return sum(m.rss for m in found) / len(found) / _MB, sum(m.pss for m in found) / len(found) / _MB


def _curve(outcome: Outcome, peers: int, seed: int) -> dict[int, float]:
    """Accuracy of the head on the union of all test parts, after so many rounds."""
    parts = [share_of(place, peers, seed).test for place in range(peers)]
    test = Digits(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))
    curve = {}
    for number in CURVE:
        stores = [outcome.layout.node(place) / "data" / "blobs" for place in range(peers)]
        head = outcome.heads.get(number)
        files = [file for store in stores if head and (file := stored_blob(store, head))]
        if files:
            curve[number] = round(accuracy(weights.load_tensors(files[0], TENSORS), test), 4)
    return curve


def _colearn(asked: argparse.Namespace, peers: int, seed: int, out: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("colearn_round.py")
    command = [str(python_of(asked.venv)), str(script), "--peers", str(peers), "--rounds", str(asked.rounds)]
    command += ["--seed", str(seed), "--out", str(out)]
    environment = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _show(result: dict[str, Any]) -> None:
    for name in ("roundabout", "colearn"):
        if name in result:
            print(f"{result['peers']} peers, {name}: " + json.dumps(result[name]))  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[5],
        help="numbers of peers",
    )
    parser.add_argument("--rounds", type=int, default=60, help="rounds a turn")
    parser.add_argument("--turns", type=int, default=1, help="how often each is measured")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the division of the images, in the first turn"
    )
    parser.add_argument("--venv", type=Path, default=Path("out/colearn-venv"), help="colearn's environment")
    parser.add_argument("--out", type=Path, default=Path("out/bench-round"), help="logs and data")
    parser.add_argument("--alone", action="store_true", help="leave colearn out")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
