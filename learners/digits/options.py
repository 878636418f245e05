"""What a person may set of the digits learner, parsed once."""

import json
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from learners.learner import LearnerError


class DigitsOptions(BaseModel):
    """The options of one peer: which share of the images is its private data."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    learner: Annotated[int, Field(ge=0)] = 0
    """Which share, counted from 0; each member takes another one."""
    of: Annotated[int, Field(ge=1, le=128)] = 5
    """How many shares there are; the same for all members."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the division; the same for all members."""

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.learner >= self.of:
            raise ValueError(f"share {self.learner} of {self.of}; they are counted from 0")
        return self


def parse_options(options: Mapping[str, object]) -> DigitsOptions:
    """The options as a person wrote them, checked. Raises LearnerError, one line."""
    try:
        return DigitsOptions.model_validate_json(json.dumps(options))
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "learner"
        raise LearnerError(f"digits option {place!r}: {first['msg'].removeprefix('Value error, ')}") from None
