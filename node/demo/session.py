"""A run of the demo while it is under way: what was asked for, and what is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from node.blobs import stored_blob
from node.demo.layout import DemoError, Layout
from node.demo.processes import Family
from node.demo.watch import Standing
from protocol.ids import Digest, Tinybar

FAMILIES = ("gentle-wide", "gentle-narrow", "medium", "tight-wide", "tight-narrow")
"""The families of tracks, one a peer; more peers go through them again with tracks of their own."""
LABELS_A_ROUND = 250
"""Expert labels of all peers together."""
UPDATE_STEPS = 300
"""Of fitting an update: the merge of all of them does the rest."""
START_BALANCE = Tinybar(100 * 100_000_000)
POOL = Tinybar(100 * 100_000_000)
"""What members are paid from; what is left of it goes back to the founder."""
HELD_OUT_TRACKS = 100
"""Fresh tracks of each family on which initial, final and lone policies are measured."""
CURVE_TRACKS = 20
"""Likewise for the head after each round."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the demo was asked for."""

    peers: int
    rounds: int
    seed: int
    out: Path
    preset: Path


@dataclass(slots=True)
class Demo:
    """A run of the demo while it is under way."""

    options: Options
    layout: Layout
    children: Family
    console: Console
    standing: Standing
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What localnet says of itself."""

    @property
    def families(self) -> list[str]:
        """Each peer's family of tracks."""
        return [FAMILIES[place % len(FAMILIES)] for place in range(self.options.peers)]

    def learner_seed(self, place: int) -> int:
        """The seed of a peer's private tracks and of its training."""
        return 1000 * self.options.seed + place

    def learner_options(self, place: int) -> dict[str, Any]:
        """A peer's learner options: all contribute to each round."""
        share = max(1, LABELS_A_ROUND // self.options.peers)
        return {**self._private(place), "labels_per_turn": share, "train_steps": UPDATE_STEPS}

    def lone_options(self, place: int) -> dict[str, Any]:
        """The same peer's, where it learns alone: as many labels in fewer, longer turns."""
        return {**self._private(place), "labels_per_turn": LABELS_A_ROUND}

    def _private(self, place: int) -> dict[str, Any]:
        return {"family": self.families[place], "seed": self.learner_seed(place)}

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        self.console.print(text, highlight=False, soft_wrap=True)


def initial_of(standing: Standing) -> Digest:
    """The initial head."""
    assert standing.state is not None, "asked only once a round has closed"
    return standing.state.params.initial


def blob_of(demo: Demo, digest: Digest) -> Path:
    """The file of a blob, from whichever node has it. Raises DemoError."""
    for place in range(demo.options.peers):
        path = stored_blob(demo.layout.node(place) / "data" / "blobs", digest)
        if path is not None:
            return path
    raise DemoError(f"no node has the blob {digest}; see {demo.layout.out / 'logs'}")
