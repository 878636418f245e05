"""What a person may set of the camera learner, parsed once."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from learners.camera.policy import LEAST_SIDE
from learners.driving.car import MAX_SPEED
from learners.driving.options import Roads
from learners.driving.track import MAX_PEER
from learners.learner import LearnerError

MAX_HELD = 2 * 1024**3
"""Bytes of decoded frames, of training and validation each."""

_Column = Annotated[str, Field(min_length=1, max_length=100)]
_Crop = Annotated[float, Field(ge=0, le=0.9)]


class Seeing(BaseModel):
    """How one peer learns, whatever its camera shows; `height` and `width` have to agree with the other peers'."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=MAX_PEER)] = 0
    """Of all that is private and random."""
    height: Annotated[int, Field(ge=LEAST_SIDE, le=128)] = 32
    """Pixels the policy sees; larger pictures are made smaller."""
    width: Annotated[int, Field(ge=LEAST_SIDE, le=256)] = 64
    train_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """Of Adam, in each turn."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 64
    mirror: bool = True
    """Show every second frame mirrored, with the opposite steering. Not where one side of the road is the right one."""
    frames: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Frames held in memory to train on, at height x width bytes each; of more, a fixed sample is taken."""

    @model_validator(mode="after")
    def _fits_memory(self) -> Self:
        if self.frames * self.height * self.width > MAX_HELD:
            raise ValueError(
                f"frames x height x width is more than {MAX_HELD:,} bytes of memory; lower one of them"
            )
        return self


class RecordedOptions(Seeing):
    """The options of one peer that has recordings of its drives, and no simulator."""

    world: Literal["recordings"]
    dataset: Annotated[str, Field(min_length=1, max_length=4096)] = "dataset"
    """The folder of the dataset (docs/data.md); a relative one begins at the learner's data folder."""
    validation_frames: Annotated[int, Field(ge=2, le=1_000_000)] = 20_000
    """Frames a vote is taken on; of more, a fixed sample."""
    steering: _Column = "steering"
    """The name of the action that is to be learned, in [-1, 1]."""
    throttle: _Column = "throttle"
    """The name of a second one that is learned beside it, if the dataset has it."""
    speed: _Column = "speed"
    """The name of the state that is the speed, if the dataset has it."""
    full_speed: Annotated[float, Field(gt=0, le=1000)] = MAX_SPEED
    """Which speed counts as 1, in the dataset's units."""
    crop_top: _Crop = 0.0
    """The share of a picture's height that is cut off above, sky and trees,"""
    crop_bottom: _Crop = 0.0
    """and below, the bonnet."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation_frames * self.height * self.width > MAX_HELD:
            raise ValueError(
                f"validation_frames x height x width is more than {MAX_HELD:,} bytes; lower one of them"
            )
        if self.crop_top + self.crop_bottom > 0.9:
            raise ValueError("crop_top and crop_bottom leave less than a tenth of the picture")
        return self


class TrackOptions(Seeing, Roads):
    """The options of one peer that drives the track world by what a camera shows of it."""

    world: Literal["tracks"]
    labels_per_turn: Annotated[int, Field(ge=1, le=100_000)] = 250


_OPTIONS: TypeAdapter[RecordedOptions | TrackOptions] = TypeAdapter(
    Annotated[RecordedOptions | TrackOptions, Field(discriminator="world")]
)


def parse_options(options: Mapping[str, object]) -> RecordedOptions | TrackOptions:
    """The options as a person wrote them, checked; without a `world` they are of recordings. Raises LearnerError."""
    try:
        return _OPTIONS.validate_json(json.dumps({"world": "recordings", **options}))
    except ValidationError as fault:
        last = fault.errors()[-1]
        place = ".".join(str(part) for part in last["loc"][1:]) or "world"  # the first names the world
        raise LearnerError(f"camera option {place!r}: {last['msg'].removeprefix('Value error, ')}") from None
