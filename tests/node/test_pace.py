"""How often a peer is dialled: the pauses grow, news cut them short, and nothing makes us dial without bound."""

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.net.control import Limits
from node.net.frames import Budget
from node.net.pace import Pace, longest_pause

LIMITS = Limits()


@given(st.integers(0, 10**6), st.floats(0, 1e7))
def test_a_pause_never_exceeds_its_bound_and_grows(tries: int, absence: float) -> None:
    pause = longest_pause(tries, absence, LIMITS)
    assert LIMITS.retry <= pause <= LIMITS.retry_most
    assert pause <= longest_pause(tries + 1, absence + 1, LIMITS)


def test_the_numbers_that_the_documentation_gives() -> None:
    assert longest_pause(0, 0.0, LIMITS) == 0.1
    assert longest_pause(5, 3.0, LIMITS) == 3.2
    assert longest_pause(9, 40.0, LIMITS) == 5.0
    assert longest_pause(20, 300.0, LIMITS) == 30.0
    assert longest_pause(99, 3600.0 * 24 * 14, LIMITS) == 60.0


async def dials(limits: Limits, seconds: float, is_pressed: bool = False) -> int:
    """How often a peer that never answers is dialled; is_pressed: somebody gives news all the time."""
    pace = Pace(limits, Budget(limits.dials, 4 * limits.dials, anyio.current_time()), 0.0)
    count = 0
    with anyio.move_on_after(seconds):
        while True:
            await pace.turn()
            count += 1
            if is_pressed:
                pace.on_news()
            await pace.pause()
    return count


def test_weeks_of_absence_cost_few_dials_and_are_never_the_end() -> None:
    async def main() -> None:
        assert 20 <= await dials(LIMITS, 60.0) <= 60
        first = await dials(LIMITS, 3600.0)
        assert 60 * 1.2 <= first <= 300  # a pause of 30 s on average, once it has been away for long

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_who_gives_news_all_the_time_gets_no_more_than_its_share() -> None:
    async def main() -> None:
        assert await dials(LIMITS, 1000.0, is_pressed=True) <= 1000 * LIMITS.dial_rate + LIMITS.dial_burst + 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_all_peers_together_have_a_share_too() -> None:
    limits = Limits(dials=2.0)

    async def main() -> None:
        together = Budget(limits.dials, 4 * limits.dials, anyio.current_time())
        count = 0

        async def one() -> None:
            nonlocal count
            pace = Pace(limits, together, 0.0)
            while True:
                await pace.turn()
                count += 1
                await pace.pause()

        with anyio.move_on_after(100.0):
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(one)
        assert 100 * limits.dials <= count <= 104 * limits.dials + 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("lag", [0.0, 0.1])
def test_news_end_a_pause_at_once(lag: float) -> None:
    async def main() -> None:
        pace = Pace(LIMITS, Budget(LIMITS.dials, 4 * LIMITS.dials, anyio.current_time()), lag)
        await anyio.sleep(1e4)
        for _ in range(50):
            await pace.pause()
        async with anyio.create_task_group() as tasks:
            started = anyio.current_time()
            pace.on_news()
            tasks.start_soon(pace.pause)
        assert anyio.current_time() == started + lag
        started = anyio.current_time()
        await pace.pause()
        assert anyio.current_time() <= started + 2 * LIMITS.retry + lag

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
