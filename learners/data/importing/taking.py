"""A recording into a dataset, once: what is there already is not taken again, and a crash is made good by a rerun."""

from pathlib import Path

from learners.data.dataset import Dataset, open_dataset
from learners.data.episode import DataError, Features
from learners.data.importing.cutting import episodes
from learners.data.importing.recording import Account, Recording, Skipped, Summary

_SHOWN = 16
"""Digits of a digest in a source's name."""


def take(
    recording: Recording, into: Path, wanted: Features | None = None, *, is_split_set: bool = False
) -> Summary:
    """Append what the recording holds; episodes are whole on disk one after the other. Raises DataError.

    into: the folder of a dataset, made with the recording's features if there is none. wanted: those features
    with another split; is_split_set: a dataset that is there must have that split.
    """
    dataset = dataset_for(wanted or recording.features, into, is_split_set=is_split_set)
    origin = f"{recording.kind}-{recording.beginning[:_SHOWN]}"
    whole = f"{origin}-{recording.digest[:_SHOWN]}"
    _refuse_grown(dataset, origin, whole, into)
    names = {entry.source for entry in dataset.entries}
    digests = {entry.digest for entry in dataset.entries}
    account = Account()
    taken = known = taken_frames = known_frames = 0
    for piece, (episode, task) in enumerate(episodes(recording, account)):
        name = f"{whole}/{piece}"
        if name in names or episode.digest() in digests:
            known, known_frames = known + 1, known_frames + len(episode)
            continue
        entry = dataset.append(episode, task=task, source=name)
        digests.add(entry.digest)
        taken, taken_frames = taken + 1, taken_frames + len(episode)
    if not taken and not known:
        raise DataError(f"nothing in this recording can be used: {_reasons(account)}")
    skipped = tuple(Skipped(reason, found.count, found.first) for reason, found in account.problems.items())
    return Summary(
        recording.kind, account.rows, taken, taken_frames, known, known_frames, skipped, tuple(account.notes)
    )


def dataset_for(features: Features, into: Path, *, is_split_set: bool = False) -> Dataset:
    """The dataset in a folder, when frames with these features belong into it. Raises DataError."""
    if not (into / "meta/info.json").exists():
        return open_dataset(into, create=features)
    dataset = open_dataset(into)
    there = dataset.features
    for name in ("states", "actions", "image", *(("validation", "salt") if is_split_set else ())):
        if getattr(features, name) != getattr(there, name):
            raise DataError(
                f"{into} has {name} {_shown(getattr(there, name))}, the recording "
                f"{_shown(getattr(features, name))}; import it into another folder"
            )
    if not 0.8 <= features.fps / there.fps <= 1.25:
        raise DataError(f"{into} has {there.fps} frames a second, the recording {features.fps}; "
                        "import it into another folder")  # fmt: skip
    return dataset


def _refuse_grown(dataset: Dataset, origin: str, whole: str, into: Path) -> None:
    """A recording that grew would bring its last piece again, longer, and maybe on the other side of the split."""
    former = [entry for entry in dataset.entries
              if entry.source.startswith(f"{origin}-") and not entry.source.startswith(f"{whole}/")]  # fmt: skip
    if former:
        raise DataError(
            f"{into} has {len(former)} episodes of an earlier state of this recording; import only what is new, "
            "as a recording of its own, or all of it into a new folder"
        )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) and value else str(value or "none")


def _reasons(account: Account) -> str:
    found = [f"{problem.count} rows: {reason}" for reason, problem in account.problems.items()]
    return "; ".join(found) or "it is empty"
