"""One drive without a break, and what the episodes of a dataset have in common. Imports no pyarrow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.learner import LearnerError
from protocol.ids import Ppm

MAX_FRAMES = 100_000
"""Frames of one episode."""
MAX_EPISODE_BYTES = 256 * 1024 * 1024
"""Bytes of one episode, its pictures as they are stored: what a reader may have to hold at once."""
MAX_IMAGE_BYTES = 4 * 1024 * 1024
MAX_WIDTH = 4096
"""Numbers of one state or action, and pixels along one side of a picture."""
MAX_FPS = 1000
USUAL_SHARE = Ppm(200_000)

Floats = NDArray[np.float32]
Times = NDArray[np.float64]
Flags = NDArray[np.bool_]


class DataError(LearnerError):
    """Data that are not what they should be; the message names the place, the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class ImageShape:
    """The size of a dataset's pictures."""

    height: int
    width: int
    channels: int = 3
    """3 for colour, 1 for grey."""

    def __str__(self) -> str:
        return f"{self.width} x {self.height}" + ("" if self.channels == 3 else " grey")


@dataclass(frozen=True, slots=True)
class Features:
    """What every episode of a dataset consists of, and how much of it is kept for validation."""

    fps: int
    """Frames a second, as recorded; timestamps say it exactly."""
    states: tuple[str, ...]
    """The names of a state's numbers; none where a recording has pictures alone."""
    actions: tuple[str, ...]
    """The names of an action's numbers."""
    image: ImageShape | None = None
    """Of the front camera's pictures; None where there is no camera."""
    validation: Ppm = USUAL_SHARE
    """The share of the episodes that is for validation; 0: all episodes are for training."""
    salt: str = "roundabout"
    """With an episode's number it decides which part the episode belongs to."""

    def __post_init__(self) -> None:
        if not 0 < self.fps <= MAX_FPS:
            raise DataError(f"{self.fps} frames a second; they must be from 1 to {MAX_FPS}")
        if not 0 < len(self.actions) <= MAX_WIDTH or len(self.states) > MAX_WIDTH:
            raise DataError(f"an action has from 1 to {MAX_WIDTH} numbers, a state at most {MAX_WIDTH}")
        if not 0 <= self.validation <= 1_000_000:
            raise DataError("the share for validation is from 0 to 1,000,000 ppm")
        if self.image is not None and not (
            0 < self.image.height <= MAX_WIDTH
            and 0 < self.image.width <= MAX_WIDTH
            and self.image.channels in (1, 3)
        ):
            raise DataError(f"pictures of {self.image} with {self.image.channels} channels are not taken")


@dataclass(frozen=True, slots=True)
class Episode:
    """Frames in the order they were recorded; n of them."""

    states: Floats
    """(n, S): what was sensed, without the camera; S may be 0."""
    actions: Floats
    """(n, A): what the expert did, or would have done."""
    interventions: Flags
    """(n,): True where the expert had taken over from the policy."""
    timestamps: Times
    """(n,): seconds since the episode began, kept to float32's precision, as LeRobot keeps them."""
    images: tuple[bytes, ...] | None = None
    """n PNG or JPEG files, as they were recorded."""

    def __len__(self) -> int:
        return len(self.actions)

    def digest(self) -> str:
        """The SHA-256 of all frames, in hexadecimal: equal episodes have equal ones."""
        found = hashlib.sha256()
        for numbers in (
            np.asarray([self.states.shape, self.actions.shape], "<i8"),
            np.ascontiguousarray(self.states, "<f4"),
            np.ascontiguousarray(self.actions, "<f4"),
            np.ascontiguousarray(self.interventions, np.bool_),
            np.ascontiguousarray(self.timestamps.astype("<f4")),
        ):
            found.update(numbers.tobytes())
        for image in self.images or ():
            found.update(len(image).to_bytes(8, "little"))
            found.update(image)
        return found.hexdigest()


def episode_of(
    states: Sequence[Sequence[float]] | Floats,
    actions: Sequence[Sequence[float]] | Floats,
    interventions: Sequence[bool] | Flags,
    timestamps: Sequence[float] | Times,
    images: Sequence[bytes] | None = None,
) -> Episode:
    """An episode from lists or arrays; each state and action is a row. Raises DataError."""
    found = np.asarray(actions, np.float32)
    return Episode(
        np.asarray(states, np.float32).reshape(len(found), -1 if len(found) else 0),
        found,
        np.asarray(interventions, np.bool_),
        np.asarray(timestamps, np.float64),
        None if images is None else tuple(images),
    )


def check_episode(episode: Episode, features: Features) -> None:
    """Refuse what does not belong into a dataset with these features. Raises DataError, one line."""
    frames = len(episode)
    if not 0 < frames <= MAX_FRAMES:
        raise DataError(f"an episode of {frames} frames; it must have from 1 to {MAX_FRAMES:,}")
    for name, numbers, shape, kind in (
        ("states", episode.states, (frames, len(features.states)), np.float32),
        ("actions", episode.actions, (frames, len(features.actions)), np.float32),
        ("interventions", episode.interventions, (frames,), np.bool_),
        ("timestamps", episode.timestamps, (frames,), np.float64),
    ):
        if numbers.shape != shape or numbers.dtype != kind:
            found = f"{numbers.dtype} {numbers.shape}"
            raise DataError(f"an episode's {name} are {found}, not {np.dtype(kind)} {shape}")
        if not np.isfinite(numbers).all():
            raise DataError(f"an episode's {name} hold a number that is not finite, in frame "
                            f"{int(np.argwhere(~np.isfinite(numbers))[0][0])}")  # fmt: skip
    if episode.timestamps[0] < 0 or (np.diff(episode.timestamps) < 0).any():
        raise DataError("an episode's timestamps are negative, or run backwards")
    if episode.states.nbytes + episode.actions.nbytes > MAX_EPISODE_BYTES:
        raise DataError(f"an episode of more than {MAX_EPISODE_BYTES:,} bytes; cut it")
    _check_images(episode, features)


def _check_images(episode: Episode, features: Features) -> None:
    images = episode.images
    if (images is None) != (features.image is None):
        raise DataError("an episode has pictures where the dataset has none, or the other way round")
    if images is None or features.image is None:
        return
    if len(images) != len(episode):
        raise DataError(f"an episode of {len(episode)} frames with {len(images)} pictures")
    if sum(map(len, images)) > MAX_EPISODE_BYTES:
        raise DataError(f"an episode with more than {MAX_EPISODE_BYTES:,} bytes of pictures; cut it")
    from learners.data.pictures import shape_of  # Pillow only where there are pictures

    for frame, image in enumerate(images):
        found = shape_of(image)
        if found != features.image:
            raise DataError(f"the picture of frame {frame} is {found}, those of the dataset {features.image}")
