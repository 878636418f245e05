"""The same seeds, versions and thread count give the same blobs and votes, in any process (docs/replay.md)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def made_by_a_process(hash_seed: str, *arguments: str, **environment: str) -> Any:
    """What a run of learners made in a process of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    env = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONHASHSEED": hash_seed,
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    command = [sys.executable, "-m", "tests.learners.digests", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_processes_make_the_same_blobs_and_cast_the_same_votes() -> None:
    first = made_by_a_process("1", "--strict")
    # Neither the order of sets and hashes, nor what the machine's own settings say of threads.
    second = made_by_a_process("2", OMP_NUM_THREADS="2", MKL_NUM_THREADS="2", MALLOC_ARENA_MAX="1")
    assert first == second
    for rounds in first.values():
        assert len({digest for digest, *_ in rounds}) == len(rounds), "each round's training is its own"
        assert any(gain for _, _, votes, _ in rounds for _, gain, _ in votes)
        assert any(outcome == "accepted" for *_, outcome in rounds)
