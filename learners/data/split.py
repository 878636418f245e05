"""Which episodes are for training and which for validation: decided once, by number and salt."""

import hashlib
from typing import Literal

from protocol.ids import Ppm

Part = Literal["train", "validation"]

_WHOLE = 1_000_000


def part_of(episode: int, validation: Ppm, salt: str) -> Part:
    """The part an episode belongs to, for ever.

    Episodes are taken in runs of about 1/share, and one of each run, drawn by the salt, is for validation. So any
    number of episodes has its share, give or take one, and no habit of the driver (every fifth lap the
    other way round) meets the draw.
    """
    if not validation:
        return "train"
    run = episode * validation // _WHOLE
    first = -(-run * _WHOLE // validation)
    size = -(-(run + 1) * _WHOLE // validation) - first
    drawn = hashlib.sha256(f"roundabout/split/{salt}/{run}".encode()).digest()
    return "validation" if episode == first + int.from_bytes(drawn[:8]) % size else "train"
