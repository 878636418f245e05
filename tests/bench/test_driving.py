"""The driving benchmark: one small table, all rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.driven import interventions
from bench.driving import ROWS
from learners.driving.family import ALL_FAMILIES
from learners.driving.rollout import EXPERT
from learners.driving.score import held_out

ROOT = Path(__file__).parents[2]


def test_an_expert_needs_no_help_and_who_never_steers_needs_a_lot() -> None:
    tracks = held_out([ALL_FAMILIES["medium"]], 4)
    assert interventions(EXPERT, tracks) == 0
    assert interventions(lambda lanes, _: np.zeros((len(lanes), 2), np.float32) + 0.2, tracks) > 3


def test_families_differ_in_what_makes_them() -> None:
    made = {(f.radius, f.amplitude, f.half_width, f.friction) for f in ALL_FAMILIES.values()}
    assert len(made) == len(ALL_FAMILIES) == 10


@pytest.mark.slow
def test_the_table_has_every_row() -> None:
    command = [
        sys.executable,
        "-m",
        "bench.driving",
        "--json",
        "--seeds",
        "0",
        "--labels",
        "200",
        "--rounds",
        "2",
    ]
    run = subprocess.run(
        [*command, "--tracks", "3", "--peers", "2"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(run.stdout.splitlines()[-1])
    assert tuple(found) == ROWS
    for row in found.values():
        assert {"mean", "worst_family", "labels", "seconds"} <= set(row)
        assert row["labels"] == [200]
        assert 0 <= row["worst_family"][0] <= row["mean"][0] <= 1
