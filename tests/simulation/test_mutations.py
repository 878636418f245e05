"""The simulation finds mistakes: each of these changes of a rule turns some seed red."""

from dataclasses import replace

from node.journal import Journal
from node.simulation.campaign import run_seed
from node.simulation.plan import Setup
from protocol import duties, fold, timing
from protocol.ids import SECOND
from protocol.rules import MILLION, has_quorum, tally

SEEDS = 120
"""Each mutant must be found in the first of so many seeds."""
SETUP = Setup(peers=7, rounds=8, byzantine=2)
LONG = Setup(peers=7, rounds=20, byzantine=2)


def broken(invariants, setup=SETUP, seeds=SEEDS):
    """The first seed that shows one of some invariants broken, among all that any of the seeds shows."""
    seen = []
    for seed in range(seeds):
        result = run_seed(setup, seed)
        if result.broken is not None:
            seen.append(result.broken.invariant)
            if result.broken.invariant in invariants:
                return seed
    raise AssertionError(f"nothing but {seen} was broken in {seeds} seeds")


def in_all(monkeypatch, name, mutant, modules):
    for module in modules:
        monkeypatch.setattr(f"protocol.{module}.{name}", mutant)


def hasty_tally(count, params):
    """Votes that are missing do not count."""
    a, j, u = count.approvals, count.rejections, count.missing
    if has_quorum(count, params):
        if a * MILLION > params.approval * (a + j):
            return "accepted"
        if j >= 1 and a * MILLION <= params.approval * (a + j):
            return "rejected"
    return "neutral" if u == 0 else None


def test_a_tally_that_does_not_wait_for_missing_votes(monkeypatch):
    in_all(monkeypatch, "tally", hasty_tally, ("fold", "duties", "ahead", "rounds", "rules"))
    broken({"accepted implies an honest approval", "honest approvals outweigh honest rejections"})


def test_a_tally_that_asks_for_no_approvals_by_others(monkeypatch):
    def lone(count, params):
        return tally(count, params.model_copy(update={"min_approvals": 0}))

    in_all(monkeypatch, "tally", lone, ("fold", "duties", "ahead", "rounds", "rules"))
    broken({"accepted implies an honest approval"}, setup=Setup(peers=4, rounds=8, byzantine=1))


def test_evidence_that_says_the_same_twice(monkeypatch):
    def credulous(state, record):
        seats = replace(state.seats, expelled=state.seats.expelled | {record.member})
        return replace(state, seats=seats)

    monkeypatch.setattr("protocol.fold.fault", credulous)
    broken({"no honest member is expelled"})


def test_who_says_two_things_and_gets_away_with_it(monkeypatch):
    monkeypatch.setattr("protocol.evidence.with_charge", lambda view, *evidence: view)
    broken({"contradictions are punished"}, setup=LONG)


def test_a_close_before_the_deadline(monkeypatch):
    """Everybody closes twenty seconds too early, and it counts."""
    apply = fold.apply

    def early(state, record, stamp, found=()):
        if record.op == "close" and state.open is not None:
            state = replace(state, open=replace(state.open, deadline=stamp.time - 1))
        return apply(state, record, stamp, found)

    monkeypatch.setattr(timing, "CLOSE_MARGIN", -20 * SECOND)
    monkeypatch.setattr(fold, "apply", early)
    broken({"closes, and nothing else, end rounds after the deadline"})


def test_a_verdict_after_the_deadline(monkeypatch):
    apply = fold.apply

    def late(state, record, stamp, found=()):
        if record.op == "verdict" and state.open is not None:
            state = replace(state, open=replace(state.open, deadline=stamp.time + 1))
        return apply(state, record, stamp, found)

    monkeypatch.setattr(fold, "apply", late)
    broken({"closes, and nothing else, end rounds after the deadline"}, setup=LONG)


def test_nobody_closes_but_the_proposer(monkeypatch):
    close = duties.close

    def selfish(view, state, current, place, now):
        return close(view, state, current, place, now) if place == current.proposer else (view, ())

    monkeypatch.setattr(duties, "close", selfish)
    broken({"rounds end in time", "nothing waits for ever"})


def test_a_journal_that_forgets(monkeypatch):
    monkeypatch.setattr(Journal, "remember", lambda self, *entry: None)
    broken({"one body a slot and round"}, setup=LONG)


def test_a_journal_that_keeps_the_last(monkeypatch):
    def remember(self, slot, run, round, body, message):
        replace_ = "INSERT OR REPLACE INTO signed VALUES (?, ?, ?, ?, ?)"
        self._database.execute(replace_, (run, round, slot, body, message))

    monkeypatch.setattr(Journal, "remember", remember)
    broken({"one body a slot and round"}, setup=LONG)


def test_without_mutants_nothing_is_broken():
    for seed in range(30):
        result = run_seed(SETUP, seed)
        assert result.broken is None, result.broken
