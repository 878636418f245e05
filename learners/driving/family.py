"""Families of tracks: the private worlds that make one peer's data unlike another's."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Family:
    """What the tracks of one family have in common."""

    name: str
    radius: tuple[float, float]
    """Least and greatest mean radius, metres."""
    harmonics: int
    """How many harmonics bend the circle: the more, the twistier."""
    amplitude: float
    """Their strength, as a share of the radius."""
    half_width: tuple[float, float]
    """Least and greatest distance from the centreline to a border, metres."""
    friction: float = 0.9
    """Of the tyres on the road: 0.9 on dry asphalt, 0.6 in the wet. Nobody sees it."""


_GENTLE = ((60.0, 80.0), 3, 0.15)
_MEDIUM = ((45.0, 65.0), 6, 0.32)
_TIGHT = ((30.0, 52.0), 9, 0.45)

_DRY, _DAMP, _WET = 0.9, 0.75, 0.6

# Curvature and width separate peers: a policy trained on gentle tracks alone fails on tight ones.
_NAMED = (
    Family("gentle-wide", *_GENTLE, half_width=(3.5, 5.0), friction=_DRY),
    Family("gentle-narrow", *_GENTLE, half_width=(1.9, 2.6), friction=_WET),
    Family("medium", *_MEDIUM, half_width=(2.6, 3.5), friction=_DAMP),
    Family("tight-wide", *_TIGHT, half_width=(2.6, 3.5), friction=_WET),
    Family("tight-narrow", *_TIGHT, half_width=(1.9, 2.6), friction=_DRY),
    Family("gentle-wide-wet", *_GENTLE, half_width=(3.5, 5.0), friction=_WET),
    Family("gentle-narrow-dry", *_GENTLE, half_width=(1.9, 2.6), friction=_DRY),
    Family("medium-narrow", *_MEDIUM, half_width=(1.9, 2.6), friction=_DRY),
    Family("tight-wide-dry", *_TIGHT, half_width=(2.6, 3.5), friction=_DRY),
    Family("tight-narrow-wet", *_TIGHT, half_width=(1.9, 2.6), friction=_WET),
)
ALL_FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _NAMED})
"""Ten named families; no two have curvature, width and friction in common."""
FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _NAMED[:5]})
"""The first five of them, from the easiest to the hardest."""

PROVING_GROUND = Family("proving-ground", (30.0, 80.0), 9, 0.45, half_width=(1.9, 5.0), friction=_DAMP)
"""Public roads of all sorts, nobody's in particular."""
