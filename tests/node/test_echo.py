"""Echoes on a control stream: they measure the round trip, and nobody can make much of them."""

from collections.abc import Callable, Coroutine

import anyio
import pytest
import trio
import trio.testing
from anyio.abc import TaskGroup

from node.net.control import Limits, Link
from node.net.exchange import Lost
from node.net.frames import KEEPALIVE, Deframer, encoded
from node.net.inbox import Inbox
from node.net.transport import Frame
from protocol.ids import PeerId

PEER = PeerId("peer")
LIMITS = Limits(ping=5.0, silence=20.0)


class Cable:
    """A stream whose other end is in the test's hands."""

    def __init__(self) -> None:
        self.put, self._got = anyio.create_memory_object_stream[bytes](10_000)
        self._out, self.taken = anyio.create_memory_object_stream[bytes](10_000)
        self._deframer = Deframer()

    async def read(self, limit: int, within: float) -> bytes:
        with anyio.move_on_after(within):
            return await self._got.receive()
        raise Lost("silent")

    async def write(self, data: bytes) -> None:
        await self._out.send(data)

    async def hears(self, seconds: float) -> list[bytes]:
        """The frames that come within so many seconds."""
        heard: list[bytes] = []
        with anyio.move_on_after(seconds):
            while True:
                heard += self._deframer.feed(await self.taken.receive())
        return [body for body in heard if body]


Scenario = Callable[[Link, Cable, Inbox], Coroutine[None, None, None]]


def play(scenario: Scenario) -> None:
    async def main() -> None:
        cable, inbox = Cable(), Inbox(1_000)
        link = Link(PEER, cable, LIMITS, PEER)
        await cable.put.send(KEEPALIVE)
        await link.greet()
        tasks: TaskGroup
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.run, inbox)
            await scenario(link, cable, inbox)
            link.end("the test is over")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_round_trip_is_measured_at_once_and_again_at_every_ping() -> None:
    async def scenario(link: Link, cable: Cable, inbox: Inbox) -> None:
        for delay in (0.5, 2.0, 0.25):
            (question,) = await cable.hears(delay)
            assert len(question) == 10
            await cable.put.send(encoded(b"\0!" + question[2:]))
            assert await cable.hears(LIMITS.ping - delay - 0.1) == []
            assert link.latency == pytest.approx(delay)
            await anyio.sleep(0.1)

    play(scenario)


def test_only_the_answer_that_was_asked_for_counts() -> None:
    async def scenario(link: Link, cable: Cable, inbox: Inbox) -> None:
        (question,) = await cable.hears(1.0)
        await cable.put.send(encoded(b"\0!" + bytes(8)))
        await cable.put.send(encoded(b"\0!" + question[2:]))
        await cable.put.send(encoded(b"\0!" + question[2:]))
        await anyio.sleep(3.0)
        assert link.latency == 1.0

    play(scenario)


def test_a_peer_that_does_not_answer_is_asked_seldom() -> None:
    async def scenario(link: Link, cable: Cable, inbox: Inbox) -> None:
        for _ in range(10):
            await cable.put.send(KEEPALIVE)
            assert len(await cable.hears(10.0)) <= 1
        assert link.latency is None

    play(scenario)


def test_questions_are_answered_in_kind_and_a_flood_of_them_is_not() -> None:
    async def scenario(link: Link, cable: Cable, inbox: Inbox) -> None:
        await cable.hears(1.0)
        await cable.put.send(encoded(b"\0?12345678"))
        assert await cable.hears(1.0) == [b"\0!12345678"]
        await cable.put.send(b"".join(encoded(b"\0?" + n.to_bytes(8, "big")) for n in range(500)))
        assert len(await cable.hears(0.5)) <= 9
        assert not link.reason

    play(scenario)


def test_what_only_looks_like_an_echo_is_a_frame() -> None:
    async def scenario(link: Link, cable: Cable, inbox: Inbox) -> None:
        bodies = [b"\0?1234567", b"\0?123456789", b"\0!", b'{"kind": 1', b"\0" * 10]
        for body in bodies:
            await cable.put.send(encoded(body))
        assert [await anext(inbox) for _ in bodies] == [Frame(PEER, body) for body in bodies]

    play(scenario)
