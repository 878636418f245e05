"""The picture of docs/adversaries.md, from the results that bench/adversaries.py keeps.

python bench/adversaries_plot.py runs.jsonl docs/adversaries.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from bench.adversaries import HBAR, ROWS, Result, kept

_HONEST, _HOSTILE = "#2c7a4b", "#b3372f"


def main() -> None:
    """Draw lap success, and what each side ended with, run by run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    draw(kept(arguments.results), arguments.picture)


def draw(results: Sequence[Result], picture: Path) -> None:
    """One line a row of the table, one dot a run."""
    rows = [row for row in ROWS if any(each.attack == row for each in results)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.8 + 0.25 * len(rows)), sharey=True)
    for height, row in enumerate(reversed(rows)):
        own = [each for each in results if each.attack == row]
        left.plot([each.mean for each in own], [height] * len(own), "o", color=_HONEST, alpha=0.5, ms=5)
        left.plot([each.worst_family for each in own], [height] * len(own), "|", color=_HONEST, ms=9)
        for color, name in ((_HONEST, "net_honest"), (_HOSTILE, "net_hostile")):
            ends = [net / HBAR for each in own for net in getattr(each, name)]
            right.plot(ends, [height] * len(ends), "o", color=color, alpha=0.4, ms=5)
    left.set_yticks(range(len(rows)), list(reversed(rows)))
    left.set_xlabel("lap success: o all families, | the worst")
    right.set_xlabel("hbar earned less lost: honest green, hostile red")
    right.axvline(0, color="#888888", lw=0.8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main()
