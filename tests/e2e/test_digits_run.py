"""What bench/round.py measures: the parts of a round add up, and a run of real daemons yields them."""

from pathlib import Path

import anyio
import pytest

from bench.digits_run import WARM_UP, Round, run_digits
from bench.round import _ours

MS = 1_000_000


def test_only_the_part_of_a_training_that_is_within_the_round_is_taken_off() -> None:
    scores = ((20 * MS, 22 * MS), (21 * MS, 26 * MS))
    within = Round(7, "accepted", 10 * MS, 40 * MS, (11 * MS, 15 * MS), scores, 47 * MS).parts()
    assert (within["round"], within["train"], within["score"]) == (30.0, 4.0, 5.0)
    assert within["beyond"] == 30.0 - 4.0 - 5.0
    assert within["closed_to_seen_by_all"] == 7.0
    cut = ("opened_to_first_scoring", "first_scoring_to_last_scored", "last_scored_to_closed")
    assert sum(within[part] for part in cut) == within["round"]
    ahead = Round(7, "accepted", 10 * MS, 40 * MS, (1 * MS, 12 * MS), scores, 47 * MS).parts()
    assert (ahead["train"], ahead["whole_training"]) == (2.0, 11.0)
    before = Round(7, "accepted", 10 * MS, 40 * MS, (1 * MS, 9 * MS), scores, 47 * MS).parts()
    assert (before["train"], before["beyond"]) == (0.0, 25.0)


@pytest.mark.slow
def test_a_short_run_of_real_daemons_is_taken_apart(tmp_path: Path) -> None:
    outcome = anyio.run(run_digits, 3, WARM_UP + 5, 0, tmp_path / "out")
    figures = _ours(outcome, 3, 0)
    assert [r.number for r in outcome.rounds] == list(range(1, WARM_UP + 6))
    assert outcome.counted
    assert 0 < figures["beyond_ms"] <= figures["round_ms"]
    assert figures["rss_mb"] > figures["daemon_rss_mb"] > 50
    assert figures["cpu_ms"] > 0
