"""The picture of a dataset: how it was steered, and a few of its frames; needs matplotlib."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from learners.data.inspecting import Inspection

COLOURS = {"train": "#1f4e9c", "validation": "#e0a100"}


def draw(seen: Inspection, title: str, out: Path) -> None:
    """Write the picture as PNG. Raises OSError."""
    rows = -(-len(seen.samples) // 4)
    figure = Figure(figsize=(9, 3 + 1.6 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, 4, height_ratios=[2.6] + [1.4] * rows)
    _histogram(figure.add_subplot(grid[0, :2]), seen)
    _traces(figure.add_subplot(grid[0, 2:]), seen)
    for place, sample in enumerate(seen.samples):
        axes = figure.add_subplot(grid[1 + place // 4, place % 4])
        with Image.open(io.BytesIO(sample.image), formats=("PNG", "JPEG")) as image:
            axes.imshow(image.convert("RGB"))
        axes.set_title(f"episode {sample.episode}, frame {sample.frame}: {sample.steering:+.2f}", fontsize=7,
                       color=COLOURS[sample.part])  # fmt: skip
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10)
    figure.savefig(out, dpi=100, format="png", metadata={"Software": None})


def _histogram(axes: Axes, seen: Inspection) -> None:
    widths = seen.edges[1:] - seen.edges[:-1]
    axes.bar(seen.edges[:-1], seen.train, widths, align="edge", color=COLOURS["train"], label="train")
    axes.bar(seen.edges[:-1], seen.validation, widths, seen.train, align="edge",
             color=COLOURS["validation"], label="validation")  # fmt: skip
    axes.set_xlabel(
        f"{seen.steered}" + (" (left positive)" if seen.steered == "steering" else ""), fontsize=8
    )
    axes.set_ylabel("frames", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)


def _traces(axes: Axes, seen: Inspection) -> None:
    for number, (part, times, steering) in enumerate(seen.traces):
        axes.plot(
            times, steering, lw=0.9, color=COLOURS[part], alpha=1 - 0.3 * number, label=f"episode {number}"
        )
    axes.set_xlabel("seconds since the episode began", fontsize=8)
    axes.set_ylabel(seen.steered, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
