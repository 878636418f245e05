"""A process that measures driving for whoever asks: one JSON request a line in, one answer a line out.

    {"weights": FILE, "tracks": N}                            lap success of weights on held-out tracks
    {"options": {...}, "turns": N, "tracks": N}               of a peer that learns alone, see alone.py

Each answer is {"lap_success": {family: share}}, or {"error": reason}. It ends when its input does.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from learners.driving.alone import train_alone
from learners.driving.evaluate import measure
from learners.learner import BadWeights, LearnerError


class Request(BaseModel):
    """One line of input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = None
    options: dict[str, object] | None = None
    turns: int = Field(default=1, ge=1, le=10_000)
    tracks: int = Field(ge=1, le=4096)


def answer(line: str) -> dict[str, object]:
    """The answer to one line."""
    try:
        request = Request.model_validate_json(line)
        if request.weights is not None:
            return {"lap_success": measure(request.weights, request.tracks)}
        if request.options is None:
            raise LearnerError("a request names weights, or the options of a peer that learns alone")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "final"
            train_alone(request.options, request.turns, Path(folder) / "data", out)
            return {"lap_success": measure(out, request.tracks)}
    except (BadWeights, LearnerError, OSError, ValidationError) as fault:
        return {"error": " ".join(str(fault).split())[:400]}


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    os.nice(10)  # those who learn go first
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
