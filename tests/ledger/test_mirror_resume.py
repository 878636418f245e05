"""Following a topic from a point that is known: from there on, everything is as from the start."""

import copy
from contextlib import aclosing
from unittest.mock import patch

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import follow as follow_module
from ledger.chunks import CHUNK_WINDOW, History, Position
from ledger.follow import follow
from ledger.hedera import open_hedera
from ledger.mirror import Mirror
from ledger.topic import HistoryBroken, TopicMessage
from protocol.ids import AccountId
from tests.ledger.chains import TOPIC, Chain, Chunk

BACKENDS = ("asyncio", "trio")
PAYERS = (AccountId("0.0.7"), AccountId("0.0.8"))


def mirror_of(chain: Chain) -> Mirror:
    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("sequencenumber", "gt:0").removeprefix("gt:"))
        return httpx.Response(200, json={"messages": chain.entries[after:], "links": {"next": None}})

    return Mirror("http://127.0.0.1:1", attempts=1, transport=httpx.MockTransport(answer))


def followed(
    chain: Chain, history: History | None = None, backend: str = "asyncio"
) -> list[tuple[TopicMessage, History | None]]:
    """All messages that are there, each with where the history that was passed stood after it."""

    async def main() -> list[tuple[TopicMessage, History | None]]:
        found = []
        async with mirror_of(chain) as mirror, aclosing(follow(mirror, TOPIC, history=history)) as messages:
            async for message in messages:
                if message is None:
                    return found
                found.append((message, copy.deepcopy(history)))
        raise AssertionError("it ended")

    return anyio.run(main, backend=backend)


steps = st.one_of(st.integers(1, 10), st.sampled_from([CHUNK_WINDOW // 2, CHUNK_WINDOW, CHUNK_WINDOW + 1]))
chunks = st.one_of(
    st.none(), st.none(), st.builds(Chunk, st.integers(1, 2), st.integers(1, 3), st.integers(2, 3))
)
additions = st.tuples(st.binary(max_size=3), st.sampled_from(PAYERS), chunks, steps)


@settings(max_examples=60, deadline=None)
@given(st.lists(additions, max_size=25))
def test_following_from_any_point_is_following_from_the_start_cut(added):
    chain = Chain()
    for body, payer, chunk, step in added:
        chain.add(body, payer, chunk, step)
    told = followed(chain, History(TOPIC))
    whole = [message for message, _ in told]
    assert whole == [message for message, _ in followed(chain)]
    for index, (message, history) in enumerate(told, 1):
        assert history is not None
        assert (history.sequence, history.time) == (message.sequence, message.time)
        assert [later for later, _ in followed(chain, copy.deepcopy(history))] == whole[index:]
        if history.position is not None:
            resumed = History(TOPIC, *history.position)
            assert [later for later, _ in followed(chain, resumed)] == whole[index:]


def test_a_point_with_a_message_under_way_is_none_to_go_on_from():
    chain = Chain()
    chain.add(b"a", chunk=Chunk(1, 1, 2))
    chain.add(b"between")
    chain.add(b"b", chunk=Chunk(1, 2, 2))
    (first, at_first), (second, at_second) = followed(chain, History(TOPIC))
    assert (first.body, second.body) == (b"between", b"ab")
    assert at_first is not None
    assert at_first.position is None
    assert at_second is not None
    assert at_second.position == Position(3, second.time, at_second.running_hash)
    cut = History(TOPIC, at_first.sequence, at_first.time, at_first.running_hash)
    assert followed(chain, cut) == [], "what it is None for"


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_history_than_the_one_that_is_known_breaks_at_once(backend):
    chain, other = Chain(), Chain()
    for number in range(3):
        chain.add(b"%d" % number)
        other.add(b"%d" % (number // 2))
    history = History(TOPIC)
    history.add(chain.entries[0])
    history.add(chain.entries[1])
    with pytest.raises(HistoryBroken, match="sequence number 3: expected running hash"):
        followed(other, history, backend)
    assert history.position is not None
    assert history.sequence == 2, "what is refused moves nothing"
    ((message, _),) = followed(chain, history, backend)
    assert message.body == b"2"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_topic_of_a_network_is_followed_from_a_point(localnet, backend):
    async def main() -> None:
        with anyio.fail_after(60):
            async with open_hedera(localnet.network, localnet.operator, localnet.key) as hedera:
                topic = hedera.topic(await hedera.create_topic())
                for body in (b"one", b"2" * 2_000, b"three"):
                    await topic.submit(body)
                history = History(topic.id)
                async with aclosing(topic.follow(history)) as messages:
                    first, second = await anext(messages), await anext(messages)
                assert first is not None
                assert second is not None
                assert (first.body, second.body) == (b"one", b"2" * 2_000)
                assert history.position is not None
                assert history.position[:2] == (second.sequence, second.time) == (3, second.time)
                async with aclosing(topic.follow(History(topic.id, *history.position))) as messages:
                    third = await anext(messages)
                    assert third is not None
                    assert (third.body, third.sequence) == (b"three", 4)
                    assert await anext(messages) is None

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mirror_that_is_not_there_yet_is_waited_for(backend):
    chain, behind = Chain(), Chain()
    for number in range(3):
        chain.add(b"%d" % number)
    history = History(TOPIC)
    for entry in chain.entries[:2]:
        history.add(entry)
    behind.entries.append(chain.entries[0])

    async def main() -> list[TopicMessage | None]:
        async with mirror_of(behind) as mirror, aclosing(follow(mirror, TOPIC, history=history)) as messages:
            found = [await anext(messages)]
            behind.entries.extend(chain.entries[1:])
            return [*found, await anext(messages)]

    with patch.object(follow_module, "BARE_POLL_SECONDS", 0):
        nothing, message = anyio.run(main, backend=backend)
    assert nothing is None
    assert message is not None
    assert message.body == b"2"
