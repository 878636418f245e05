"""Which piece is asked of whom: many fetchers of one blob, in any order, with loss, liars and silence."""

import random
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.net.schedule import DEPTH, HESITATION, MOST, SILENCE, Ask, Schedule
from protocol.ids import PeerId

ORIGIN = PeerId("origin")
DEADLINE = 15.0
"""Seconds after which a request that is not answered is given up, and its source with it."""


@dataclass
class Fetcher:
    peer: PeerId
    schedule: Schedule
    has: set[int]
    asked: list[tuple[Ask, float]] = field(default_factory=list)


@dataclass
class Swarm:
    """Fetchers of one blob, whose requests are answered one at a time, in any order."""

    count: int
    fetchers: dict[PeerId, Fetcher]
    chance: random.Random
    liars: frozenset[PeerId] = frozenset()
    silent: frozenset[PeerId] = frozenset()
    loss: float = 0.0
    pace: float = 0.01
    """Seconds that an answer takes at most."""
    now: float = 0.0
    served: dict[PeerId, int] = field(default_factory=dict)

    def run(self) -> None:
        """Until everybody has all, or nobody left to ask."""
        for _ in range(400 * self.count * len(self.fetchers)):
            waiting = [
                f for f in self.fetchers.values() if not f.schedule.is_done and not f.schedule.is_hopeless
            ]
            if not waiting:
                return
            for fetcher in waiting:
                fetcher.asked += [(ask, self.now) for ask in fetcher.schedule.next(self.now)]
                assert sum(ask.index is not None for ask, _ in fetcher.asked) <= MOST
            ready = [(f, item) for f in waiting for item in f.asked if self.is_ready(item[0], item[1])]
            if ready:
                self.now += self.chance.random() * self.pace
                self.answer(*self.chance.choice(ready))
            else:
                wakes = [f.schedule.wake(self.now) for f in waiting]
                asked = [since + DEADLINE for f in waiting for _, since in f.asked]
                self.now = min(time for time in [*wakes, *asked] if time is not None and time > self.now)
        raise AssertionError("it goes on for ever")

    def is_ready(self, ask: Ask, since: float) -> bool:
        if ask.source in self.silent:
            return self.now >= since + DEADLINE
        return ask.index is not None or len(self.held_by(ask.source)) > ask.known or self.now >= since + 5

    def held_by(self, source: PeerId) -> set[int]:
        return set(range(self.count)) if source == ORIGIN else self.fetchers[source].has

    def answer(self, fetcher: Fetcher, item: tuple[Ask, float]) -> None:
        fetcher.asked.remove(item)
        (ask, _), schedule = item, fetcher.schedule
        held = self.held_by(ask.source)
        if (
            ask.source in self.silent | self.liars and ask.index is not None
        ) or self.chance.random() < self.loss:
            schedule.on_gone(ask.source)
            fetcher.asked = [other for other in fetcher.asked if other[0].source != ask.source]
        elif ask.source in self.silent:
            schedule.on_gone(ask.source)
        elif ask.index is None:
            schedule.on_has(ask.source, held, self.now)
        elif ask.index in held:
            self.served[ask.source] = self.served.get(ask.source, 0) + 1
            fetcher.has.add(ask.index)
            schedule.on_piece(ask.source, ask.index, self.now)
        else:
            schedule.on_refused(ask.source, ask.index)


def swarm_of(size: int, count: int, seed: int, **options: object) -> Swarm:
    peers = [PeerId(f"voter {n:02}") for n in range(size)]
    fetchers = {}
    for peer in peers:
        sources = (ORIGIN, *(other for other in peers if other != peer))
        fetchers[peer] = Fetcher(peer, Schedule(peer, sources, count, range(count), 0.0), set())
    return Swarm(count, fetchers, random.Random(seed), **options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 8), count=st.integers(2, 24), seed=st.integers(0, 2**32))
@example(size=16, count=40, seed=1)
def test_the_origin_sends_about_one_copy_where_all_are_honest(size: int, count: int, seed: int) -> None:
    swarm = swarm_of(size, count, seed)
    swarm.run()
    assert all(len(fetcher.has) == count for fetcher in swarm.fetchers.values())
    assert sum(swarm.served.values()) == size * count, "nothing comes twice"
    assert swarm.served[ORIGIN] <= 1.5 * count


@settings(deadline=None, max_examples=30)
@given(data=st.data(), size=st.integers(2, 8), count=st.integers(2, 24), seed=st.integers(0, 2**32))
def test_every_honest_fetcher_gets_all_from_the_origin_whoever_lies_or_is_silent(
    data: st.DataObject, size: int, count: int, seed: int
) -> None:
    swarm = swarm_of(size, count, seed)
    peers = sorted(swarm.fetchers)
    swarm.liars = data.draw(st.frozensets(st.sampled_from(peers)))
    swarm.silent = data.draw(st.frozensets(st.sampled_from(peers)))
    swarm.run()
    assert all(len(fetcher.has) == count for fetcher in swarm.fetchers.values())


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(2, 8), count=st.integers(2, 24), seed=st.integers(0, 2**32), loss=st.floats(0.001, 0.1)
)
def test_with_loss_only_who_has_lost_everybody_is_left_without(
    size: int, count: int, seed: int, loss: float
) -> None:
    swarm = swarm_of(size, count, seed, loss=loss)
    swarm.run()
    for fetcher in swarm.fetchers.values():
        assert fetcher.schedule.is_done is (len(fetcher.has) == count)
        assert fetcher.schedule.is_done or not fetcher.schedule._sources


@settings(deadline=None, max_examples=30)
@given(size=st.integers(2, 8), count=st.integers(2, 24), seed=st.integers(0, 2**32))
def test_what_the_origin_gave_before_it_went_is_passed_on(size: int, count: int, seed: int) -> None:
    swarm = swarm_of(size, count, seed)
    first, *others = swarm.fetchers.values()
    for fetcher in others:
        fetcher.schedule.on_gone(ORIGIN)
    swarm.run()
    assert all(len(fetcher.has) == count for fetcher in swarm.fetchers.values())
    assert swarm.served[ORIGIN] == count, first.peer


def test_one_that_comes_late_takes_nothing_from_the_origin_that_others_have() -> None:
    swarm = swarm_of(4, 40, 1)
    late = swarm.fetchers.pop(PeerId("voter 03"))
    swarm.fetchers[late.peer] = Fetcher(late.peer, Schedule(late.peer, (), 40, (), 0.0), set())
    swarm.run()
    before = swarm.served[ORIGIN]
    swarm.fetchers[late.peer] = late
    swarm.run()
    assert len(late.has) == 40
    assert swarm.served[ORIGIN] - before <= 20


def test_a_lone_fetcher_keeps_its_only_source_busy() -> None:
    schedule = Schedule(PeerId("me"), (ORIGIN,), 10, range(10), 0.0)
    assert schedule.next(0.0) == [Ask(ORIGIN, index) for index in range(DEPTH)]
    assert schedule.next(0.0) == []
    schedule.on_piece(ORIGIN, 0, 0.1)
    assert schedule.next(0.1) == [Ask(ORIGIN, DEPTH)]


def test_a_share_that_nobody_takes_is_taken_over() -> None:
    sources = (ORIGIN, PeerId("b"), PeerId("c"))
    schedule = Schedule(PeerId("a"), sources, 9, range(9), 0.0)
    now, own = 0.0, []
    while asks := [ask for ask in schedule.next(now) if ask.source == ORIGIN and ask.index is not None]:
        for ask in asks:
            assert ask.index is not None
            own.append(ask.index)
            schedule.on_piece(ORIGIN, ask.index, now)
    assert own == [0, 3, 6], "its own share, and no more while the others seem to live"
    wake = schedule.wake(now)
    assert wake == HESITATION
    assert [ask.index for ask in schedule.next(HESITATION) if ask.source == ORIGIN] == [1, 2, 4]


def test_who_goes_has_its_share_taken_over_at_once() -> None:
    sources = (ORIGIN, PeerId("b"), PeerId("c"))
    schedule = Schedule(PeerId("a"), sources, 18, set(range(18)) - {0, 3, 6, 9, 12, 15}, 0.0)
    assert not [ask for ask in schedule.next(0.0) if ask.source == ORIGIN]
    schedule.on_gone(PeerId("b"))
    taken = {ask.index for ask in schedule.next(0.1) if ask.source == ORIGIN}
    assert taken
    assert taken < {1, 4, 7, 10, 13, 16}, "half of the share of the one that has gone"
    assert SILENCE > 0.1
