"""Rounds of colearn over gRPC, each learner in a process of its own; prints one JSON object.

    VENV/bin/python bench/colearn_round.py --peers 5 --rounds 60 --seed 0 --out DIR

Run by bench/round.py in colearn's virtual environment, where none of our packages is.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from colearn.training import collective_learning_round, set_equal_weights
from colearn_grpc.example_grpc_learner_client import ExampleGRPCLearnerClient
from colearn_grpc.utils import weights_to_iterator

sys.path.insert(0, str(Path(__file__).parent))
from colearn_peer import parts_of
from memory import cpu_of, memory_of

WARM_UP = 5
_MS = 1e-6


def accuracy(weights: Any, test: list[Any]) -> float:
    """The share of all test images that a state dict recognises."""
    tensors = {name: torch.as_tensor(tensor) for name, tensor in weights.items()}
    images, labels = (torch.cat([part.tensors[i] for part in test]) for i in (0, 1))
    hidden = torch.relu(images @ tensors["0.weight"].T + tensors["0.bias"])
    found = (hidden @ tensors["2.weight"].T + tensors["2.bias"]).argmax(dim=1)
    return float((found == labels).double().mean())


def spans(files: list[Path], what: str) -> list[list[tuple[int, int]]]:
    """Begin and end of each learner's calls of one kind, in order."""
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[(begin, end) for kind, begin, end in each if kind == what] for each in lines]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("peers", "rounds", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    files = [asked.out / f"times-{place}.jsonl" for place in range(asked.peers)]
    processes = []
    try:
        for place, file in enumerate(files):
            command = [sys.executable, str(Path(__file__).with_name("colearn_peer.py")), "--times", str(file)]
            command += ["--learner", str(place), "--of", str(asked.peers), "--seed", str(asked.seed)]
            log = (asked.out / f"peer-{place}.log").open("w")
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True))
        learners = []
        for place, process in enumerate(processes):
            assert process.stdout is not None
            client = ExampleGRPCLearnerClient(
                f"learner {place}", f"127.0.0.1:{int(process.stdout.readline())}"
            )
            client.start()
            client.setup_ml("digits", "{}", "digits", "{}")
            learners.append(client)
        print(json.dumps(measure(asked, learners, [p.pid for p in processes], files)))  # noqa: T201
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(
    asked: argparse.Namespace, learners: list[Any], pids: list[int], files: list[Path]
) -> dict[str, Any]:
    """Play the rounds, and take them apart."""
    test = [parts_of(place, asked.peers, asked.seed)[2] for place in range(asked.peers)]
    set_equal_weights(learners)
    rounds, curve, accepted, cpu = [], {}, 0, 0.0
    for index in range(asked.rounds):
        if index == WARM_UP:
            cpu = sum(map(cpu_of, pids)) + time.process_time()
        began = time.time_ns()
        with contextlib.redirect_stdout(io.StringIO()):
            result = collective_learning_round(learners, 0.5, index)
        rounds.append((began, time.time_ns()))
        accepted += bool(result.vote)
        if index + 1 in (15, 30, 60):
            curve[index + 1] = round(accuracy(decoded(learners[0]), test), 4)
    cpu = sum(map(cpu_of, pids)) + time.process_time() - cpu
    parts = [taken_apart(span, spans(files, "train"), spans(files, "score")) for span in rounds[WARM_UP:]]
    memory = [memory_of(pid) for pid in pids]
    return {
        **{f"{name}_ms": round(median(part[name] for part in parts) * _MS, 2) for name in parts[0]},
        "cpu_ms": round(1e3 * cpu / (asked.rounds - WARM_UP), 1),
        "rss_mb": round(np.mean([m.rss for m in memory]) / 2**20, 1),
        "pss_mb": round(np.mean([m.pss for m in memory]) / 2**20, 1),
        "accepted": accepted,
        "accuracy": curve,
    }


def decoded(learner: Any) -> Any:
    """A learner's weights as a state dict."""
    from colearn_grpc.utils import iterator_to_weights

    raw = learner.mli_get_current_weights()
    return iterator_to_weights(weights_to_iterator(raw, encode=False)).weights


def taken_apart(
    span: tuple[int, int], trains: list[list[tuple[int, int]]], scores: list[list[tuple[int, int]]]
) -> dict[str, float]:
    """One round: all of it, training, the longest comparison, and what neither of them is."""

    def within(calls: list[list[tuple[int, int]]]) -> list[int]:
        return [e - b for each in calls for b, e in each if span[0] <= b and e <= span[1]]

    whole, train, score = span[1] - span[0], sum(within(trains)), within(scores)
    return {
        "round": whole,
        "train": train,
        "score": max(score),
        "beyond": whole - train - max(score),
        "beyond_all_scores": whole - train - sum(score),
    }


if __name__ == "__main__":
    main()
