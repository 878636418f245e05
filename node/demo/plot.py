"""The picture of a run: what each learner found of each candidate, and how well the head drives."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from node.demo.table import head_after
from node.demo.watch import Standing

VOTE_COLOURS = {"approve": "#2a9d4a", "reject": "#d1345b", "abstain": "#e0a100", "unavailable": "#888888"}
HEAD_COLOUR = "#1f4e9c"


def draw_rounds(standing: Standing, families: Sequence[str], out: Path) -> None:
    """One panel a learner: the score of each candidate, coloured by its vote; below, the head's lap success."""
    columns = min(len(families), 5)
    rows = -(-len(families) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.5 * rows + 3.2), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [1.25])
    for place, family in enumerate(families):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        _draw_learner(axes, standing, place, family)
    _draw_head(figure.add_subplot(grid[rows, :]), standing, families)
    handles = [Line2D([], [], marker="o", ls="", color=c, label=name) for name, c in VOTE_COLOURS.items()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, title="vote"
    )
    figure.savefig(out, dpi=110)


def _draw_learner(axes: Axes, standing: Standing, place: int, family: str) -> None:
    seen = [s for s in standing.scorings if s.place == place]
    axes.plot([s.round for s in seen], [s.head / 1e6 for s in seen], color=HEAD_COLOUR, lw=1, alpha=0.5)
    for choice, colour in VOTE_COLOURS.items():
        those = [s for s in seen if s.choice == choice]
        axes.scatter(
            [s.round for s in those], [s.candidate / 1e6 for s in those], color=colour, s=20, zorder=3
        )
    axes.set_title(f"learner {place}: {family}", fontsize=9)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlim(0.5, len(standing.rounds) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylabel("score" if place == 0 else "", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)


def _draw_head(axes: Axes, standing: Standing, families: Sequence[str]) -> None:
    state = standing.state
    assert state is not None, "a picture is drawn after the run"
    heads = [state.params.initial, *(head_after(standing, i) for i in range(len(standing.rounds)))]
    known = [
        (number, standing.lap_success[head])
        for number, head in enumerate(heads)
        if head in standing.lap_success
    ]
    numbers = [number for number, _ in known]
    for family in dict.fromkeys(families):
        axes.plot(numbers, [found[family] for _, found in known], lw=1, alpha=0.6, label=family)
    means = [sum(found.values()) / len(found) for _, found in known]
    axes.plot(numbers, means, color=HEAD_COLOUR, lw=2.5, marker="o", ms=4, label="mean")
    axes.set_title("lap success of the head on held-out tracks", fontsize=10)
    axes.set_xlabel("round")
    axes.set_ylim(-0.04, 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=3, loc="lower right")
