"""How well weights drive on held-out tracks, measured in a process of its own (learners/driving/referee.py)."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from node.demo.layout import DemoError
from node.demo.processes import Family

LapSuccess = Mapping[str, float]
"""Share of laps completed, by family of tracks."""


class Evaluator:
    """A process that answers one request a line."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rest = b""

    async def lap_success(self, weights: Path, tracks: int) -> LapSuccess:
        """Lap success of weights on fresh tracks of each family. Raises DemoError."""
        answer = await self._ask({"weights": str(weights), "tracks": tracks})
        found: LapSuccess = answer["lap_success"]
        return found

    async def alone(self, options: Mapping[str, Any], turns: int, tracks: int) -> LapSuccess:
        """Lap success of a peer that learns alone, with its own share of the labels. Raises DemoError."""
        answer = await self._ask({"options": options, "turns": turns, "tracks": tracks})
        found: LapSuccess = answer["lap_success"]
        return found

    async def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise DemoError("the evaluator has no pipes")
        try:
            await stdin.send(json.dumps(request).encode() + b"\n")
            while b"\n" not in self._rest:
                self._rest += await stdout.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            remedy = "run `python -m learners.driving.referee` to see why"
            raise DemoError(f"the evaluator ended; {remedy}") from None
        line, _, self._rest = self._rest.partition(b"\n")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise DemoError(f"the evaluator could not: {answer['error']}")
        return answer


@asynccontextmanager
async def evaluator(children: Family) -> AsyncIterator[Evaluator]:
    """Start an evaluator; it ends with the demo's other children."""
    process = await children.start_other(["-m", "learners.driving.referee"])
    yield Evaluator(process)
