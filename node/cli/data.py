"""`roundabout data`: import recordings into a peer's private dataset, look at one, and see how it is split."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from learners.data.dataset import Dataset, Info, open_dataset
from learners.data.episode import DataError
from learners.data.importing import FORMATS
from learners.data.importing.recording import Summary
from learners.data.importing.taking import take
from learners.data.inspecting import Inspection, inspect
from node.cli.exits import one_line, tell
from protocol.ids import Ppm

_FOLDER = click.Path(path_type=Path)
_SHARE = click.FloatRange(0, 1)


@click.group("data")
def command() -> None:
    """A peer's private data: import recordings, look at them, see how they are split.

    Nothing here uses the network.
    """


@command.command("import")
@click.argument("source", type=_FOLDER)
@click.option(
    "--from", "kind", required=True, type=click.Choice(sorted(FORMATS)), help="The recording's format."
)
@click.option("--into", required=True, type=_FOLDER, help="The dataset's folder; made if there is none.")
@click.option(
    "--validation", type=_SHARE, help="Share of the episodes for validation, of a new folder (0.2)."
)
@click.option("--salt", help="What draws the episodes for validation, of a new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(
    source: Path, kind: str, into: Path, validation: float | None, salt: str | None, as_json: bool
) -> None:
    """Add the recording SOURCE to a dataset; what is there already is not added again.

    Rows that cannot be used are counted by reason, and left out. Exits 2 when nothing could be imported.
    """
    with one_line(DataError, OSError):
        recording = FORMATS[kind](source)
        wanted = recording.features
        if validation is not None:
            wanted = replace(wanted, validation=_ppm(validation))
        if salt is not None:
            wanted = replace(wanted, salt=salt)
        is_set = validation is not None or salt is not None
        done = take(recording, into, wanted, is_split_set=is_set)
        info = open_dataset(into).info
    tell({**asdict(done), "dataset": _facts(info), "lines": _imported(done, info, into)}, as_json)


@command.command("inspect")
@click.argument("folder", type=_FOLDER)
@click.option("--picture", type=_FOLDER, help="Write a histogram of the steering and sample frames, as PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect_(folder: Path, picture: Path | None, as_json: bool) -> None:
    """Read all of a dataset, and say what is in it.

    Exits 1 when frames are damaged, 2 when there is no dataset.
    """
    dataset = _opened(folder)
    with one_line(DataError, failed=DataError):
        seen = inspect(dataset)
    if picture is not None:
        from learners.data import sheet  # matplotlib is in an extra of its own

        with one_line(OSError):
            sheet.draw(seen, f"{folder.name}: {_counts(seen.info)}", picture)
    histogram = {
        "edges": seen.edges.tolist(),
        "train": seen.train.tolist(),
        "validation": seen.validation.tolist(),
    }
    facts = {**_facts(seen.info), "seconds": seen.seconds, "steered": seen.steered, "histogram": histogram}
    tell({**facts, "lines": _inspected(seen, folder)}, as_json)


@command.command("split")
@click.argument("folder", type=_FOLDER)
@click.option("--validation", type=_SHARE, help="Set the share for validation; only while it is empty.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def split(folder: Path, validation: float | None, as_json: bool) -> None:
    """Show which episodes are for training and which for validation.

    That is settled when an episode is added, and never changes. Exits 1 when the share cannot be set any more.
    """
    dataset = _opened(folder)
    if validation is not None:
        with one_line(DataError, failed=DataError):
            dataset.share(_ppm(validation))
    kept = {"episode", "part", "length", "tasks", "source"}
    episodes = [entry.model_dump(include=kept) for entry in dataset.entries]
    facts = {"share": dataset.features.validation / 1e6, "salt": dataset.features.salt, "episodes": episodes}
    tell({**facts, "lines": _split_lines(dataset)}, as_json)


def _opened(folder: Path) -> Dataset:
    with one_line(DataError, OSError):
        return open_dataset(folder)


def _ppm(share: float) -> Ppm:
    return Ppm(round(share * 1_000_000))


def _facts(info: Info) -> dict[str, Any]:
    features = info.features
    return {
        "fps": features.fps,
        "states": list(features.states),
        "actions": list(features.actions),
        "image": None if features.image is None else asdict(features.image),
        "episodes": {"train": info.train, "validation": info.validation},
        "frames": {"train": info.train_frames, "validation": info.validation_frames},
        "interventions": info.interventions,
        "tasks": list(info.tasks),
        "share": features.validation / 1e6,
    }


def _counts(info: Info) -> str:
    return f"{info.episodes} episodes, {info.frames:,} frames, {info.interventions:,} interventions"


def _parts(info: Info) -> str:
    return (
        f"{info.train} episodes with {info.train_frames:,} frames for training, "
        f"{info.validation} with {info.validation_frames:,} for validation"
    )


def _imported(done: Summary, info: Info, into: Path) -> list[str]:
    known = ""
    if done.known_episodes:
        known = f"; {done.known_episodes} episodes with {done.known_frames:,} frames were there already"
    lines = [f"{done.rows:,} rows: {done.episodes} new episodes with {done.frames:,} frames{known}"]
    lines += [f"left out: {each.rows:,} rows: {each.reason} (first: {each.first})" for each in done.skipped]
    lines += [f"note: {text}" for text in done.notes]
    return [*lines, f"{into} has {_counts(info)}: {_parts(info)}"]


def _inspected(seen: Inspection, folder: Path) -> list[str]:
    info, features = seen.info, seen.info.features
    camera = f"pictures of {features.image}" if features.image else "no pictures"
    lines = [
        f"{folder}: {_counts(info)}",
        f"{seen.seconds / 60:.1f} minutes at {features.fps} frames a second, {camera}",
        f"state: {', '.join(features.states) or 'none'}; action: {', '.join(features.actions)}",
        f"tasks: {', '.join(info.tasks) or 'none'}",
        f"{_parts(info)} (share {features.validation / 1e6:g})",
    ]
    total = seen.train + seen.validation
    if not total.sum():
        return lines
    widest = int(total.max())
    bars = [
        f"{round(low, 2) + 0.0:+7.2f} {'#' * round(40 * int(count) / widest)} {int(count)}"
        for low, count in zip((seen.edges[:-1] + seen.edges[1:]) / 2, total, strict=True)
        if count
    ]
    return [*lines, f"{seen.steered}:", *bars]


def _split_lines(dataset: Dataset) -> list[str]:
    info = dataset.info
    head = f"share {info.features.validation / 1e6:g}, salt {info.features.salt!r}: {_parts(info)}"
    return [
        head,
        *(f"{e.episode:6d}  {e.part:<10}  {e.length:7,d} frames  {e.source}" for e in dataset.entries),
    ]
