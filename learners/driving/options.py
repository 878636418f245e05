"""What a person may set of the driving learner, parsed once."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from learners.driving.family import ALL_FAMILIES, Family
from learners.driving.track import MAX_PEER, MAX_TRACKS
from learners.learner import LearnerError

Asking = Literal["drawn", "doubt", "gated", "mixed"]
_Metres = Annotated[float, Field(gt=0, le=1000)]


class FamilyNumbers(BaseModel):
    """A family of one's own, in place of a named one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    radius: tuple[_Metres, _Metres]
    harmonics: Annotated[int, Field(ge=1, le=20)]
    amplitude: Annotated[float, Field(ge=0, le=1)]
    half_width: tuple[_Metres, _Metres]
    friction: Annotated[float, Field(ge=0.1, le=2.0)] = 0.9


class Learning(BaseModel):
    """How one peer learns, whatever it drives in; only `hidden` has to agree with the other peers'."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=MAX_PEER)]
    """Of all that is private and random: roads, starts, batches."""
    labels_per_turn: Annotated[int, Field(ge=1, le=1_000_000)] = 250
    train_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1500
    merge_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 800
    """Of fitting one's own policy to what the others' do, where a run merges updates."""
    hidden: Annotated[int, Field(ge=1, le=4096)] = 64
    """Units of each hidden layer."""


class Roads(BaseModel):
    """One peer's private tracks, whatever it drives them by."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    family: str | FamilyNumbers
    """The private tracks: the name of a family, or its numbers."""
    ask: Asking = "drawn"
    """What labels are spent on: states of the policy's drives, drawn at random or where its own labels leave it in
    doubt, or the expert's driving where it takes over ("gated"), which may need fewer (docs/interventions.md)."""
    train_tracks: Annotated[int, Field(ge=1, le=MAX_TRACKS)] = 16
    validation_tracks: Annotated[int, Field(ge=2, le=MAX_TRACKS)] = 32
    validation_starts: Annotated[int, Field(ge=1, le=64)] = 4
    """Laps on each validation track, from different places."""

    @field_validator("family")
    @classmethod
    def _is_known(cls, family: str | FamilyNumbers) -> str | FamilyNumbers:
        if isinstance(family, str) and family not in ALL_FAMILIES:
            raise ValueError(f"unknown track family {family!r}; the named ones are {', '.join(ALL_FAMILIES)}")
        return family

    def track_family(self) -> Family:
        """The family as the track world knows it."""
        if isinstance(self.family, str):
            return ALL_FAMILIES[self.family]
        numbers = self.family
        return Family(
            "own", numbers.radius, numbers.harmonics, numbers.amplitude, numbers.half_width, numbers.friction
        )


class DrivingOptions(Learning, Roads):
    """The options of one peer in the track world."""


def parse_options(options: Mapping[str, object]) -> DrivingOptions:
    """The options as a person wrote them, checked. Raises LearnerError, one line."""
    try:
        return DrivingOptions.model_validate_json(json.dumps(options))
    except ValidationError as fault:
        last = fault.errors()[-1]  # of a family in numbers, the first only says that it is no name
        place = ".".join(str(part) for part in last["loc"])
        raise LearnerError(f"driving option {place!r}: {last['msg'].removeprefix('Value error, ')}") from None
