"""Many seeds, over several processes: what broke, and what was tried."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

from node.simulation.accounts import Violation
from node.simulation.plan import Setup, plan_for
from node.simulation.scheduler import START
from node.simulation.telling import Tell
from node.simulation.world import World

BATCH = 10
"""Seeds that a process runs at a time."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A seed in which something that must hold does not."""

    seed: int
    invariant: str
    detail: str
    at: int
    """Nanoseconds from the start."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one seed showed."""

    seed: int
    rounds: int
    endings: dict[str, int]
    faults: dict[str, int]
    broken: Broken | None


@dataclass(slots=True)
class Summary:
    """What some seeds showed together."""

    seeds: int = 0
    rounds: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one more seed."""
        self.seeds += 1
        self.rounds += result.rounds
        self.endings.update(result.endings)
        self.faults.update(result.faults)
        if result.broken is not None:
            self.broken.append(result.broken)


def run_seed(setup: Setup, seed: int, tell: Tell | None = None) -> Result:
    """One simulation; `tell` is told of everything in it."""
    world = World(plan_for(setup, seed), tell)
    broken: Broken | None = None
    try:
        world.run()
    except Violation as violation:
        at = world.scheduler.now - START
        broken = Broken(seed, violation.invariant, violation.detail, at)
    except Exception as error:  # noqa: BLE001 - whatever a node raises is a finding about this seed
        at = world.scheduler.now - START
        broken = Broken(seed, "nothing raises", f"{type(error).__name__}: {error}", at)
    return Result(seed, world.rounds, dict(world.endings), dict(world.tried()), broken)


def _run_batch(setup: Setup, seeds: Sequence[int]) -> list[Result]:
    return [run_seed(setup, seed) for seed in seeds]


def run_seeds(setup: Setup, seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """Many simulations, in order of their seeds."""
    if jobs == 1:
        for seed in seeds:
            yield run_seed(setup, seed)
        return
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for results in pool.map(partial(_run_batch, setup), batches):
            yield from results
