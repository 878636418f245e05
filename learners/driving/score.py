"""How well a policy drives on public tracks that nobody trains or votes on."""

from collections.abc import Sequence

from learners.driving.family import Family
from learners.driving.rollout import Pilot, laps
from learners.driving.track import Tracks, held_out_seeds, make_tracks, stack

HELD_OUT_START = 7


def held_out(families: Sequence[Family], count: int) -> Tracks:
    """`count` public tracks of each family, side by side, that nobody trains or votes on."""
    return stack([track for family in families for track in make_tracks(held_out_seeds(count), family)])


def lap_success(pilot: Pilot, tracks: Tracks, families: int) -> tuple[float, ...]:
    """The share of laps completed on each family's part of `held_out` tracks."""
    result = laps(pilot, tracks, HELD_OUT_START)
    return tuple(float(share) for share in (result == 1.0).reshape(families, -1).mean(axis=1))
