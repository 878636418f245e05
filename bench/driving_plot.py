"""The picture of docs/learning.md, from the lines that bench/driving.py writes to its standard error.

python -m bench.driving_plot runs.jsonl docs/driving.png
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

from bench.driving import ROWS

_COLOURS = dict(zip(ROWS, ("#888888", "#333333", "#c08a2e", "#b3372f", "#2c7a4b"), strict=True))


def main() -> None:
    """Draw lap success run by run, and how ours got there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    lines = arguments.results.read_text().splitlines()
    draw([json.loads(line) for line in lines if line.startswith("{")], arguments.picture)


def draw(results: Sequence[dict[str, Any]], picture: Path) -> None:
    """Left: one dot a run, mean and worst family. Right: ours by the labels it has asked for."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for height, row in enumerate(reversed(ROWS)):
        own = [each for each in results if each["row"] == row]
        colour = _COLOURS[row]
        left.plot([each["mean"] for each in own], [height] * len(own), "o", color=colour, alpha=0.5, ms=5)
        left.plot([each["worst_family"] for each in own], [height] * len(own), "|", color=colour, ms=10)
    left.set_yticks(range(len(ROWS)), list(reversed(ROWS)))
    left.set_xlabel("lap success: o all families, | the worst")
    for each in results:
        if each["row"] == "ours":
            labels, means, worst = zip(*each["curve"], strict=True)
            right.plot(labels, means, "-", color=_COLOURS["ours"], alpha=0.4, lw=1)
            right.plot(labels, worst, ":", color=_COLOURS["ours"], alpha=0.4, lw=1)
    right.set_xlabel("labels asked for, ours: mean; dotted: worst family")
    right.set_ylim(0.4, 1.01)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main()
