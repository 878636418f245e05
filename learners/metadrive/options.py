"""What a person may set of the driving learner in MetaDrive, parsed once."""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from learners.driving.options import Learning
from learners.learner import LearnerError
from learners.metadrive.scenario import BLOCKS, MAX_PEERS, MAX_SCENARIOS, PLAIN


class MetaDriveOptions(Learning):
    """The options of one peer on MetaDrive's roads."""

    seed: Annotated[int, Field(ge=0, lt=MAX_PEERS)]
    """Of all that is private and random: maps, traffic, batches."""
    blocks: Annotated[str, Field(min_length=1, max_length=16, pattern=f"^[{BLOCKS}]+$")] = PLAIN
    """The kinds of block that the private maps are drawn from, in MetaDrive's letters; a repeated one is likelier."""
    length: Annotated[int, Field(ge=1, le=7)] = 3
    """Blocks in each map."""
    traffic: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Cars in each ten metres of lane, as MetaDrive counts them; 0 for none."""
    train_maps: Annotated[int, Field(ge=1, le=MAX_SCENARIOS)] = 32
    validation_maps: Annotated[int, Field(ge=2, le=MAX_SCENARIOS)] = 16


def parse_options(options: Mapping[str, object]) -> MetaDriveOptions:
    """The options as a person wrote them, checked. Raises LearnerError, one line."""
    try:
        return MetaDriveOptions.model_validate_json(json.dumps(options))
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LearnerError(f"metadrive option {place!r}: {first['msg']}") from None
