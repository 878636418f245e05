"""What goes wrong in one simulation, drawn from its seed before it starts."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from node.simulation.behaviours import LIES, TRICKS
from node.simulation.scheduler import MILLISECOND
from protocol.ids import SECOND

WINDOW = 60
"""Seconds of a round, at most."""

MOST_FOUNDERS, FOUNDERS = 100, 7
"""A run of more than so many is founded by a few."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What simulations have in common."""

    peers: int = 7
    rounds: int = 20
    byzantine: int = 0
    committee: int = 0
    """Members that vote; 0: everybody."""

    @property
    def founders(self) -> int:
        """Members from the start; a genesis record has room for some hundreds, and the others join."""
        return self.peers if self.peers <= MOST_FOUNDERS else FOUNDERS


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasts, in nanoseconds from the start, and whom it concerns."""

    start: int
    end: int
    places: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong without anybody's bad will, until everything heals."""

    heal: int = 0
    """Nanoseconds from the start."""
    loss: float = 0.0
    duplication: float = 0.0
    delay: int = 50 * MILLISECOND
    """A message takes so long at most, one in ten up to ten times as long."""
    finality: int = 4 * SECOND
    """From a submission to its consensus time, and again to a reader, at most."""
    broken_fetches: float = 0.0
    slow_fetch: int = SECOND
    broken_learner: float = 0.0
    slow_learner: int = 2 * SECOND
    partitions: tuple[Span, ...] = ()
    """These places and the others do not hear each other."""
    deaf: tuple[Span, ...] = ()
    """These places are not heard by the others, but hear them."""
    crashes: tuple[Span, ...] = ()
    """One place, down from start to end."""
    writing: tuple[Span, ...] = ()
    """Nobody can write to the topic."""
    reading: tuple[Span, ...] = ()
    """These places cannot read the topic."""
    rot: tuple[Span, ...] = ()
    """One place loses the head's blob, at the start of each."""
    payments: float = 0.0
    """How often a payment fails, and how often it gets lost."""

    def spans(self) -> dict[str, tuple[Span, ...]]:
        """What lasts, by name."""
        return {
            "partitions": self.partitions,
            "one-way links": self.deaf,
            "outages of writing": self.writing,
            "outages of reading": self.reading,
            "rotten blobs": self.rot,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before a simulation starts."""

    seed: int
    setup: Setup
    params: dict[str, Any]
    faults: Faults = field(default_factory=Faults)
    liars: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Places that misbehave, and how."""
    silent: frozenset[int] = frozenset()
    """Those of them that say nothing at all, from the start."""
    deceived: frozenset[int] = frozenset()
    """Those of them that are honest, but whose mirror shows another history."""
    late: int | None = None
    """When one more joins, in nanoseconds from the start: it takes the place after all others."""
    pool: int = 0
    stake: int = 0

    @property
    def faulty(self) -> frozenset[int]:
        """Everybody that nothing is expected of."""
        return frozenset(place for place, _ in self.liars) | self.silent | self.deceived


def plan_for(setup: Setup, seed: int) -> Plan:
    """The plan of a seed. Equal for all who ask, whatever runs them."""
    draw = Random(f"plan {seed} {setup.peers} {setup.rounds} {setup.byzantine} {setup.committee}")
    faulty = draw.sample(range(setup.peers), min(setup.byzantine, setup.peers))
    liars, silent, deceived = _cast_faulty(setup, faulty, draw)
    late = int((10 + 200 * draw.random()) * SECOND) if draw.random() < 0.3 else None
    stake = draw.choice([0, 1_000_000]) if setup.founders == setup.peers else 1_000_000
    return Plan(
        seed=seed,
        setup=setup,
        params=_params(setup, draw, stake, seed),
        faults=_faults(setup, [place for place in range(setup.peers) if place not in faulty], draw),
        liars=tuple(liars),
        silent=frozenset(silent),
        deceived=frozenset(deceived),
        late=late if stake and setup.founders == setup.peers else None,
        # To pay back a thousand stakes is a simulation of its own.
        pool=draw.choice([0, 10**9, 10**12]) if setup.founders == setup.peers else 0,
        stake=stake,
    )


def _cast_faulty(
    setup: Setup, faulty: list[int], draw: Random
) -> tuple[list[tuple[int, tuple[str, ...]]], list[int], list[int]]:
    """Who lies and how, who is silent, who is deceived: half of the time no more than a third lie."""
    most = len(faulty) if draw.random() < 0.5 else (setup.peers - 1) // 3
    liars: list[tuple[int, tuple[str, ...]]] = []
    silent: list[int] = []
    deceived: list[int] = []
    for place in faulty:
        fate = draw.random()
        if len(liars) >= most or fate < 0.15:
            silent.append(place)
        elif fate < 0.25:
            deceived.append(place)
        else:
            lies = draw.sample(LIES, 1)
            tricks = draw.sample(TRICKS, draw.randint(0, 4))
            liars.append((place, tuple([*lies, *tricks] if draw.random() < 0.7 else tricks or lies)))
    return liars, silent, deceived


def _params(setup: Setup, draw: Random, stake: int, seed: int) -> dict[str, Any]:
    return {
        "round_window": WINDOW,
        "contribution_window": Random(f"contributions {seed}").choice([0, 0, 5, 15, 30]),
        # Where others join, each founder passes once before.
        "max_rounds": setup.rounds + (setup.founders if setup.founders < setup.peers else 0),
        "inactive_after": draw.randint(2, 4),
        "committee_size": setup.committee,
        "admission": "open" if stake else "vote",
        "stake_min": stake // 100,
        "reward_vote": 100,
        "reward_proposal": 1_000,
        "penalty_rejected": draw.choice([0, 50]),
        "penalty_absent": draw.choice([0, 5]),
        "penalty_outvoted": draw.choice([0, 3]),
        "penalty_contested": draw.choice([0, 2]),
        "settle_every": draw.choice([3, 5]),
        "settle_window": 60,
        "settle_fee": 10_000,
    }


def _faults(setup: Setup, honest: list[int], draw: Random) -> Faults:
    """A few kinds of faults at a time, so that each has its own seeds."""
    length = max(1, setup.rounds * 3 // 5) * draw.randint(8, 40) * SECOND

    def spans(most: int, longest: int, most_places: int) -> tuple[Span, ...]:
        found = []
        for _ in range(draw.randint(1, most)):
            start = int(draw.random() * length)
            places = draw.sample(range(setup.peers), draw.randint(1, min(setup.peers, most_places)))
            end = min(length, start + int((0.05 + draw.random()) * longest * SECOND))
            found.append(Span(start, end, frozenset(places)))
        return tuple(found)

    def some(chance: float) -> bool:
        return draw.random() < chance

    crashes = tuple(
        Span(span.start, span.end, frozenset([draw.choice(honest)])) for span in spans(6, 40, 1) if honest
    )
    rot = tuple(
        Span(span.start, span.end, frozenset([draw.choice(honest)])) for span in spans(4, 1, 1) if honest
    )
    return Faults(
        heal=length,
        rot=rot if some(0.2) else (),
        loss=draw.choice([0.02, 0.1, 0.5]) if some(0.4) else 0.0,
        duplication=draw.choice([0.05, 0.3]) if some(0.3) else 0.0,
        delay=draw.choice([20, 200, 1500]) * MILLISECOND,
        finality=draw.choice([1, 2, 4]) * SECOND,
        broken_fetches=draw.choice([0.1, 0.5]) if some(0.3) else 0.0,
        slow_fetch=draw.choice([1, 30]) * SECOND if some(0.3) else SECOND,
        broken_learner=draw.choice([0.1, 0.5]) if some(0.3) else 0.0,
        slow_learner=draw.choice([10, 50]) * SECOND if some(0.2) else 2 * SECOND,
        partitions=spans(2, 150, max(1, setup.peers // 2)) if some(0.3) else (),
        deaf=spans(2, 100, 2) if some(0.25) else (),
        crashes=crashes if some(0.5) else (),
        writing=spans(2, 90, 1) if some(0.2) else (),
        reading=spans(3, 90, max(1, setup.peers // 2)) if some(0.25) else (),
        payments=0.3 if some(0.3) else 0.0,
    )
