import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
import httpx
import pytest

from ledger import follow as follow_module
from ledger.follow import Subscribe, follow
from ledger.mirror import Mirror
from ledger.topic import HistoryBroken, TopicMessage
from tests.ledger.chains import TOPIC, Chain

BACKENDS = ("asyncio", "trio")


class Served:
    """A mirror of one topic that can be away, and remembers where it was asked to start."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.away = False
        self.asked: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("sequencenumber", "gt:0").removeprefix("gt:"))
        self.asked.append(after)
        if self.away:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"messages": self.chain.entries[after:], "links": {"next": None}})

    def mirror(self) -> Mirror:
        return Mirror("http://127.0.0.1:1", attempts=1, transport=httpx.MockTransport(self))


async def test_the_end_of_what_was_there_is_said_once():
    served = Served(chain_of(b"one"))
    async with served.mirror() as mirror, aclosing(follow(mirror, TOPIC)) as messages:
        seen = [await anext(messages), await anext(messages)]
        served.chain.add(b"two")
        seen.append(await anext(messages))
    assert [None if message is None else message.body for message in seen] == [b"one", None, b"two"]


async def whole(stream: AsyncGenerator[TopicMessage | None]) -> AsyncGenerator[TopicMessage, None]:
    """The messages alone, without the mark of the end of what was there."""
    async with aclosing(stream):
        async for message in stream:
            if message is not None:
                yield message


async def take(served: Served, count: int, subscribe: Subscribe | None = None) -> list[TopicMessage]:
    found: list[TopicMessage] = []
    with anyio.fail_after(30):
        async with served.mirror() as mirror, aclosing(whole(follow(mirror, TOPIC, subscribe))) as messages:
            async for message in messages:
                found.append(message)
                if len(found) == count:
                    break
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(follow_module, "BARE_POLL_SECONDS", 0.001)
    monkeypatch.setattr(follow_module, "_LAG_SECONDS", 0.001)


def chain_of(*bodies: bytes) -> Chain:
    chain = Chain()
    for body in bodies:
        chain.add(body)
    return chain


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_comes_later_is_read_from_where_reading_stopped(backend):
    served = Served(chain_of(b"one", b"two"))

    async def main() -> list[bytes]:
        bodies = []
        async with served.mirror() as mirror, aclosing(whole(follow(mirror, TOPIC))) as messages:
            async for message in messages:
                bodies.append(message.body)
                if message.body == b"two":
                    served.chain.add(b"three")
                if message.body == b"three":
                    return bodies
        raise AssertionError("it ended")

    assert anyio.run(main, backend=backend) == [b"one", b"two", b"three"]
    assert served.asked[0] == 0
    assert served.asked[-1] == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_history_that_breaks_ends_the_following(backend):
    served = Served(chain_of(b"one", b"two"))
    served.chain.entries[1]["message"] = served.chain.entries[0]["message"]

    async def main() -> None:
        async with served.mirror() as mirror, aclosing(whole(follow(mirror, TOPIC))) as messages:
            assert (await anext(messages)).body == b"one"
            with pytest.raises(HistoryBroken, match="sequence number 2: expected running hash"):
                await anext(messages)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_outage_is_outlasted_and_told_once(backend, caplog):
    caplog.set_level(logging.INFO, "ledger.follow")
    served = Served(chain_of(b"one"))

    async def main() -> None:
        async with served.mirror() as mirror, aclosing(whole(follow(mirror, TOPIC))) as messages:
            assert (await anext(messages)).body == b"one"
            served.away = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(return_after, 5)
                assert (await anext(messages)).body == b"two"
            served.chain.add(b"three")
            assert (await anext(messages)).body == b"three"

    async def return_after(attempts: int) -> None:
        failed = len(served.asked) + attempts
        while len(served.asked) < failed:
            await anyio.lowlevel.checkpoint()
        served.chain.add(b"two")
        served.away = False

    anyio.run(main, backend=backend)
    told = [record.levelname for record in caplog.records if record.name == "ledger.follow"]
    assert told == ["WARNING", "INFO"]


class Stream:
    """A subscription whose news come from a thread, as the SDK's do."""

    def __init__(self) -> None:
        self.news: list[Callable[[], None]] = []
        self.ends: list[Callable[[], None]] = []
        self.stopped = 0

    def subscribe(self, on_news: Callable[[], None], on_end: Callable[[], None]) -> Callable[[], None]:
        self.news.append(on_news)
        self.ends.append(on_end)
        return self.stop

    def stop(self) -> None:
        self.stopped += 1


async def in_thread(work: Callable[[], None]) -> None:
    """Run something in a thread of nobody's, and wait for its end without holding up the loop."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)


@pytest.mark.parametrize("backend", BACKENDS)
def test_news_wake_a_follower_that_would_sleep_on(backend, monkeypatch):
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 3_600)
    served, stream = Served(chain_of(b"one")), Stream()

    async def main() -> None:
        async with (
            served.mirror() as mirror,
            aclosing(whole(follow(mirror, TOPIC, stream.subscribe))) as messages,
        ):
            assert (await anext(messages)).body == b"one"
            served.chain.add(b"two")

            async def ring() -> None:
                await in_thread(stream.news[0])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ring)
                assert (await anext(messages)).body == b"two"
        assert (len(stream.news), stream.stopped) == (1, 1)

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)
    # A thread that rings when all is over disturbs nobody.
    stream.news[0]()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subscription_that_ends_is_renewed(backend, monkeypatch):
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 0.001)
    served, stream = Served(chain_of(b"one")), Stream()

    async def main() -> None:
        async with (
            served.mirror() as mirror,
            aclosing(whole(follow(mirror, TOPIC, stream.subscribe))) as messages,
        ):
            await anext(messages)
            await in_thread(stream.ends[0])

            async def renewed() -> None:
                while len(stream.news) < 2:
                    await anyio.lowlevel.checkpoint()
                served.chain.add(b"two")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(renewed)
                assert (await anext(messages)).body == b"two"
        assert (len(stream.news), stream.stopped) == (2, 2)

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subscription_that_says_nothing_is_renewed(backend, monkeypatch):
    """After a cut its connection looks alive for minutes; looking finds the news, so that it must be deaf."""
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 0.001)
    served, stream = Served(chain_of(b"one")), Stream()

    async def main() -> None:
        async with (
            served.mirror() as mirror,
            aclosing(whole(follow(mirror, TOPIC, stream.subscribe))) as messages,
        ):
            await anext(messages)
            while len(stream.news) < 2:
                served.chain.add(b"more")
                await anext(messages)

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)
    assert (len(stream.news), stream.stopped) == (2, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subscription_is_renewed_when_the_mirror_is_back(backend, monkeypatch):
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 0.001)
    served, stream = Served(chain_of(b"one")), Stream()

    async def main() -> None:
        async with (
            served.mirror() as mirror,
            aclosing(whole(follow(mirror, TOPIC, stream.subscribe))) as messages,
        ):
            await anext(messages)
            served.away = True

            async def comes_back() -> None:
                asked = len(served.asked)
                while len(served.asked) < asked + 2:
                    await anyio.lowlevel.checkpoint()
                served.away = False
                while len(stream.news) < 2:
                    await anyio.lowlevel.checkpoint()
                served.chain.add(b"two")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(comes_back)
                assert (await anext(messages)).body == b"two"

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)
    assert len(stream.news) == 2
