"""Which roads are whose: MetaDrive makes a map and its traffic from a seed, so a band of seeds is a set of roads."""

from dataclasses import dataclass

import numpy as np

BLOCKS = "SCXTOrR"
"""Straight, curve, intersection, T intersection, roundabout, ramp in, ramp out: MetaDrive's letters."""
PLAIN = "SCCCXTO"
"""All but ramps, in about MetaDrive's proportions. Ramps are broken in 0.4.3: see docs/metadrive.md."""
MAX_SCENARIOS = 64
"""Training maps of one peer, and validation maps, at most."""
MAX_PEERS = 1000
PUBLIC = 4096
"""Held-out maps, and as many for rehearsal."""

_FIRST_PRIVATE = 2 * PUBLIC
SEEDS = _FIRST_PRIVATE + 2 * MAX_SCENARIOS * MAX_PEERS
"""All seeds are below."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One map, where one drives on it, and its traffic."""

    seed: int
    blocks: str
    """The map's blocks in order; empty for three that MetaDrive draws itself, ramps among them."""
    traffic: float


def training(peer: int, count: int, blocks: str, length: int, traffic: float) -> list[Scenario]:
    """The scenarios a peer trains on; no other peer and no other purpose has one of their seeds."""
    first = _FIRST_PRIVATE + 2 * MAX_SCENARIOS * peer
    return [drawn(first + index, blocks, length, traffic) for index in range(count)]


def validation(peer: int, count: int, blocks: str, length: int, traffic: float) -> list[Scenario]:
    """The scenarios a peer votes on."""
    first = _FIRST_PRIVATE + 2 * MAX_SCENARIOS * peer + MAX_SCENARIOS
    return [drawn(first + index, blocks, length, traffic) for index in range(count)]


def rehearsal(index: int, traffic: float) -> Scenario:
    """One of the PUBLIC scenarios that everybody may drive."""
    return drawn(PUBLIC + index, PLAIN, 3, traffic)


def held_out(index: int, blocks: str, traffic: float) -> Scenario:
    """One of the PUBLIC scenarios that nobody trains or votes on; no blocks for MetaDrive's own mixture."""
    return drawn(index, blocks, 3, traffic) if blocks else Scenario(index, "", traffic)


def drawn(seed: int, blocks: str, length: int, traffic: float) -> Scenario:
    """A scenario whose blocks are drawn from letters, by its own seed."""
    letters = np.random.default_rng(seed).choice(list(blocks), length)
    return Scenario(seed, "".join(letters.tolist()), traffic)
