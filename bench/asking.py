"""What labels are best spent on: states drawn at random, states in doubt, or the expert's driving once it takes over.

    python bench/asking.py [--seeds 3] [--tracks 100] [--json] [--plot docs/interventions.png]

Labels are pooled over the families, or one peer learns alone from its own; no network. Each turn the head drives, up to
`--labels` labels are asked for, and the head is fitted to all labels so far. The candidate is adopted without further
question, or only if the families' peers vote for it (SPEC.md, choice_for, tally). Lap success is on fresh tracks.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from learners.driving.asking import ask
from learners.driving.dagger import Schedule, collect, fit
from learners.driving.dataset import EMPTY, Demonstrations, joined
from learners.driving.doubt import fit_ensemble
from learners.driving.family import FAMILIES
from learners.driving.gating import collect_gated, doubt_gate
from learners.driving.policy import Weights, initial_weights, policy_of, tensor_specs
from learners.driving.rollout import Policy, by_sight, laps
from learners.driving.score import held_out, lap_success
from learners.driving.track import Tracks, make_tracks, stack, training_seeds, validation_seeds
from learners.paired import paired
from protocol.ids import digest_of
from protocol.params import LearnerRef, Params
from protocol.rules import choice_for, count_of, tally

WAYS = ("drawn", "doubt", "gated", "mixed", "gated by doubt")
POOLED = "pooled"
BUDGETS = (500, 1000, 2000, 3000, 5000)
HARM = 0.01
"""A candidate whose lap success is lower than its head's by more than this is worse."""
_ANY = digest_of(b"")
RULES = Params(learner=LearnerRef(name="driving", spec=_ANY), initial=_ANY, min_approvals=0)
"""As configs/driving.toml has them; the learner goes without saying here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    data: str
    """POOLED, or the name of the family of a peer alone."""
    way: str
    is_voted: bool
    seed: int
    turns: int
    labels: int
    """A turn."""
    tracks: int
    """Held out, of each family."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a run."""

    labels: int
    """So far."""
    success: tuple[float, ...]
    """Of the head after it, by family."""
    gain: float
    """Mean lap success of the candidate, less that of the head it was trained from."""
    outcome: str
    """What the peers' votes make of the candidate; "" where nobody was asked."""


class Voters:
    """The peers who vote, and how the weights they last compared drove."""

    def __init__(self, validation: list[Tracks]) -> None:
        """validation: each peer's own tracks."""
        self._validation = validation
        self._driven: list[tuple[Weights, list[NDArray[np.float64]]]] = []

    def outcome(self, head: Weights, candidate: Weights, turn: int) -> str:
        """What the protocol makes of a candidate: alone, a peer's own vote; pooled, all but whose turn it is."""
        before, after = self._laps(head), self._laps(candidate)
        self._driven = [(head, before), (candidate, after)]
        pairs = [paired(old, new) for old, new in zip(before, after, strict=True)]
        if len(pairs) > 1:
            del pairs[turn % len(pairs)]
        votes = [choice_for(seen.gain, seen.error) for seen in pairs]
        return str(tally(count_of(votes, len(votes) + 1), RULES))

    def _laps(self, weights: Weights) -> list[NDArray[np.float64]]:
        for known, driven in self._driven:
            if known is weights:
                return driven
        return [laps(by_sight(policy_of(weights)), tracks, 1, 4) for tracks in self._validation]


def run(plan: Plan) -> list[Turn]:
    """The turns of one run; the same plan gives the same turns on one machine."""
    torch.set_num_threads(1)
    names = list(FAMILIES) if plan.data == POOLED else [plan.data]
    families = [FAMILIES[name] for name in names]
    peers = [plan.seed * len(FAMILIES) + list(FAMILIES).index(name) for name in names]
    training = _tracks(training_seeds, peers, names, 16)
    validation = [
        _tracks(validation_seeds, [peer], [name], 32) for peer, name in zip(peers, names, strict=True)
    ]
    fresh = held_out(families, plan.tracks)
    head: Weights = initial_weights(tensor_specs(64))
    voters = Voters(validation)
    success, known, turns = (0.0,) * len(names), EMPTY, []
    for turn in range(plan.turns):
        seed = plan.seed * 1_000_003 + turn
        known = joined([known, _asked(plan.way, policy_of(head), training, plan.labels, seed, known)])
        candidate, _ = fit(head, known, EMPTY, Schedule(), seed)
        found = lap_success(by_sight(policy_of(candidate)), fresh, len(names))
        is_late = turn >= plan.turns // 2
        outcome = voters.outcome(head, candidate, turn) if plan.is_voted or is_late else ""
        gain = float(np.mean(found) - np.mean(success))
        if not plan.is_voted or outcome == "accepted":
            head, success = candidate, found
        turns.append(Turn(len(known), success, gain, outcome))
    return turns


def _asked(
    way: str, policy: Policy, tracks: Tracks, labels: int, seed: int, known: Demonstrations
) -> Demonstrations:
    if not len(known):
        return collect(None, tracks, labels, seed)
    if way == "gated by doubt":
        return collect_gated(policy, doubt_gate(fit_ensemble(known, seed), known), tracks, labels, seed)
    return ask(way, policy, tracks, labels, seed, known)  # type: ignore[arg-type]


def _tracks(seeds: Callable[[int, int], range], peers: list[int], names: list[str], count: int) -> Tracks:
    kinds = zip(peers, names, strict=True)
    return stack([track for peer, name in kinds for track in make_tracks(seeds(peer, count), FAMILIES[name])])


def rows(results: dict[Plan, list[Turn]]) -> Iterator[dict[str, object]]:
    """A row for each way of asking, pooled and alone, with and without a vote."""
    kinds = dict.fromkeys((plan.data == POOLED, plan.way, plan.is_voted) for plan in results)
    for is_pooled, way, is_voted in kinds:
        of = {
            plan: turns
            for plan, turns in results.items()
            if (plan.data == POOLED, plan.way, plan.is_voted) == (is_pooled, way, is_voted)
        }
        yield {
            "data": POOLED if is_pooled else "alone",
            "ask": way,
            "vote": is_voted,
            "success": {str(budget): success_at(of, budget) for budget in BUDGETS},
            "labels": round(float(np.mean([turns[-1].labels for turns in of.values()]))),
            **late(list(of.values()), is_voted),
        }


def success_at(results: dict[Plan, list[Turn]], budget: int) -> list[float]:
    """Lap success with that many labels or, of a run that asked for fewer, all: the mean, and the worst family."""
    reached = {plan: [turn for turn in turns if turn.labels <= budget] for plan, turns in results.items()}
    found = [(plan.seed, turns[-1].success) for plan, turns in reached.items() if turns]
    worst: dict[int, float] = {}
    for seed, success in found:
        worst[seed] = min(worst.get(seed, 1.0), *success)
    mean = float(np.mean([np.mean(success) for _, success in found]))
    return [round(mean, 3), round(float(np.mean(list(worst.values()))), 3)]


def late(runs: Sequence[list[Turn]], is_voted: bool) -> dict[str, object]:
    """What became of the second half of the turns."""
    turns = [turn for run in runs for turn in run[len(run) // 2 :]]
    worse = [turn for turn in turns if turn.gain < -HARM]
    better = [turn for turn in turns if turn.gain > HARM]
    return {
        "late_turns": len(turns),
        "worse": len(worse),
        "worse_not_accepted": sum(turn.outcome != "accepted" for turn in worse),
        "better": len(better),
        "better_accepted": sum(turn.outcome == "accepted" for turn in better),
        "adopted": sum(turn.outcome == "accepted" for turn in turns) if is_voted else len(turns),
        "deepest_fall": round(max((-turn.gain for turn in turns), default=0.0), 3),
    }


def markdown(table: list[dict[str, object]]) -> str:
    """The table, for the docs."""
    heads = [
        "data",
        "asked for",
        "vote",
        *(f"{budget:,}" for budget in BUDGETS),
        "labels",
        "late: worse",
        "of them refused",
    ]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table:
        success: dict[str, list[float]] = row["success"]  # type: ignore[assignment]
        cells = [row["data"], row["ask"], "yes" if row["vote"] else "no"]
        cells += [f"{mean:.3f} / {worst:.2f}" for mean, worst in success.values()]
        cells += [f"{row['labels']:,}", f"{row['worse']} of {row['late_turns']}", row["worse_not_accepted"]]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def plans(arguments: argparse.Namespace) -> list[Plan]:
    """Pooled in every way, with and without a vote; alone, the hardest roads first, without."""
    sizes = (arguments.turns, arguments.labels, arguments.tracks)
    seeds = range(arguments.seeds)
    return [
        *(
            Plan(POOLED, way, voted, seed, *sizes)
            for seed in seeds
            for way in WAYS
            for voted in (False, True)
        ),
        *(
            Plan(name, way, False, seed, *sizes)
            for name in arguments.alone
            for seed in seeds
            for way in WAYS[:4]
        ),
    ]


def finished(wanted: Sequence[Plan], processes: int, file: Path | None) -> dict[Plan, list[Turn]]:
    """The turns of every run; those that `file` has are not run again, and it is given the others."""
    results: dict[Plan, list[Turn]] = {}
    for line in file.read_text().splitlines() if file and file.exists() else ():
        plan, turns = json.loads(line)
        results[Plan(**plan)] = [Turn(**{**turn, "success": tuple(turn["success"])}) for turn in turns]
    missing = [plan for plan in wanted if plan not in results]
    with ProcessPoolExecutor(processes) as pool:
        for plan, turns in zip(missing, pool.map(run, missing), strict=True):
            results[plan] = turns
            if file:
                with file.open("a") as out:
                    out.write(json.dumps([asdict(plan), [asdict(turn) for turn in turns]]) + "\n")
    return {plan: results[plan] for plan in wanted}


def main() -> None:
    """Run everything; print the table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--labels", type=int, default=250, help="a turn")
    parser.add_argument("--tracks", type=int, default=100, help="held out, of each family")
    parser.add_argument(
        "--alone",
        nargs="*",
        choices=FAMILIES,
        default=list(FAMILIES)[::-1],
        help="families of peers that learn alone",
    )
    parser.add_argument("--runs", type=Path, help="a file that keeps finished runs, to go on from")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, help="where a picture of the curves goes")
    arguments = parser.parse_args()
    results = finished(plans(arguments), arguments.processes, arguments.runs)
    table = list(rows(results))
    sys.stdout.write(json.dumps({"rows": table}) + "\n" if arguments.json else markdown(table))
    if arguments.plot:
        plot(results, arguments.plot)


def plot(results: dict[Plan, list[Turn]], file: Path) -> None:
    """Mean lap success over labels for each way of asking; every run of pooled labels a thin line."""
    from matplotlib.figure import Figure  # of the demo extra; the table does without

    figure = Figure(figsize=(9, 3.4), dpi=80, layout="constrained")
    for place, (title, is_pooled) in enumerate((("pooled", True), ("each peer alone", False))):
        axes = figure.add_subplot(1, 2, place + 1, title=title, xlabel="labels", ylim=(0, 1.02))
        for index, way in enumerate(WAYS):
            runs = [
                turns
                for plan, turns in results.items()
                if (plan.data == POOLED) == is_pooled and plan.way == way and not plan.is_voted
            ]
            if not runs:
                continue
            labels = np.mean([[turn.labels for turn in run] for run in runs], axis=0)
            means = np.array([[np.mean(turn.success) for turn in run] for run in runs])
            if is_pooled:
                for run, curve in zip(runs, means, strict=True):
                    axes.plot(
                        [turn.labels for turn in run], curve, color=f"C{index}", linewidth=0.5, alpha=0.5
                    )
            axes.plot(labels, means.mean(axis=0), color=f"C{index}", label=way)
        axes.legend(loc="lower right", fontsize="small")
    figure.axes[0].set_ylabel("laps completed")
    figure.savefig(file)


if __name__ == "__main__":
    main()
