"""Frames into episodes: cut where the recording has a gap, and where a drive is long."""

from collections.abc import Iterator

from learners.data.episode import MAX_EPISODE_BYTES, MAX_FRAMES, DataError, Episode, episode_of
from learners.data.importing.recording import Account, Frame, Recording

GAP_S = 1.0
"""A longer silence is a new drive; at less than five frames a second, five frames are."""
PIECE_S = 60.0
"""A drive is cut into pieces of this length, so that part of a long one can be for validation."""
GUARD_S = 1.0
"""Left out between two pieces: neighbours in time look alike, and must not be on both sides of the split."""
PIECE_BYTES = MAX_EPISODE_BYTES // 4

GUARD = "in the second between two pieces of one drive"
"""Why those frames are left out."""


def episodes(recording: Recording, account: Account) -> Iterator[tuple[Episode, str]]:
    """A recording's episodes and their tasks, each held in memory while it grows, and no other. Raises DataError."""
    gap = max(GAP_S, 5 / recording.features.fps)
    longest = float("inf") if recording.keeps_episodes else PIECE_S
    pending: list[Frame] = []
    size = 0
    guarded: Frame | None = None  # the last frame of a piece that was cut for its length
    for frame in recording.frames(account):
        last = pending[-1] if pending else guarded
        if last is not None and (frame.drive != last.drive or not 0 <= frame.time - last.time <= gap):
            if pending:
                yield _episode(pending)
            pending, size, guarded = [], 0, None
        if guarded is not None:
            if frame.time - guarded.time <= GUARD_S:
                account.skip(GUARD, f"drive {frame.drive}, {frame.time:.3f} s")
                continue
            guarded = None
        pending.append(frame)
        size += len(frame.image or b"") + 4 * (len(frame.state) + len(frame.action))
        if frame.time - pending[0].time >= longest or size >= PIECE_BYTES or len(pending) == MAX_FRAMES:
            yield _episode(pending)
            pending, size, guarded = [], 0, frame
    if pending:
        yield _episode(pending)


def _episode(frames: list[Frame]) -> tuple[Episode, str]:
    images = [frame.image for frame in frames if frame.image is not None]
    if len(images) not in (0, len(frames)):
        raise DataError("some frames of a drive have a picture, and some have none")
    start = frames[0].time
    found = episode_of(
        [frame.state for frame in frames],
        [frame.action for frame in frames],
        [frame.intervention for frame in frames],
        [frame.time - start for frame in frames],
        images or None,
    )
    return found, frames[0].task
