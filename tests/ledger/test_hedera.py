import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import coincurve
import pytest

from ledger import follow as follow_module
from ledger.hedera import MAX_BODY, Hedera, Network, open_hedera
from ledger.hiero import ResponseCode, TopicMessageSubmitTransaction
from ledger.hiero import TopicId as SdkTopic
from ledger.session import Session, Submission, TransactionClock
from ledger.topic import LedgerError, TopicMessage, TopicRefused
from protocol.ids import AccountId, PublicKey, Tinybar, TopicId
from protocol.transfers import SharedKey
from tests.ledger.gate import gates
from tests.ledger.localnet_process import Localnet

HBAR = Tinybar(100_000_000)
BACKENDS = ("asyncio", "trio")


@dataclass(frozen=True)
class Person:
    """A member with an account of their own."""

    account: AccountId
    key: coincurve.PrivateKey


def public(key: coincurve.PrivateKey) -> PublicKey:
    return PublicKey(key.public_key.format())


async def new_person(operator: Hedera) -> Person:
    key = coincurve.PrivateKey()
    return Person(await operator.create_account(public(key), Tinybar(100 * HBAR)), key)


async def read(hedera: Hedera, topic: TopicId, count: int) -> list[TopicMessage]:
    found = []
    async with aclosing(hedera.topic(topic).follow()) as messages:
        async for message in messages:
            if message is None:
                continue
            found.append(message)
            if len(found) == count:
                break
    return found


def run(backend: str, localnet: Localnet, test: Callable[[Hedera], Awaitable[Any]]) -> Any:
    """A test as the operator of the network, bounded in time."""

    async def main() -> Any:
        with anyio.fail_after(60):
            async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
                return await test(operator)

    return anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_members_write_at_once_and_everything_arrives_once(localnet, backend):
    async def test(operator: Hedera) -> None:
        people = [await new_person(operator) for _ in range(2)]
        topic = await operator.create_topic("a run", [public(person.key) for person in people])
        sent = {person.account: {f"{person.account} {n}".encode() for n in range(15)} for person in people}
        async with AsyncExitStack() as stack:
            opened = [open_hedera(localnet.network, each.account, each.key.secret) for each in people]
            writers = [await stack.enter_async_context(hedera) for hedera in opened]
            tasks = await stack.enter_async_context(anyio.create_task_group())
            for hedera in writers:
                for body in sent[hedera.account]:
                    tasks.start_soon(hedera.topic(topic).submit, body)
        messages = await read(operator, topic, 30)
        assert [message.sequence for message in messages] == list(range(1, 31))
        for account, bodies in sent.items():
            assert {message.body for message in messages if message.payer == account} == bodies

    run(backend, localnet, test)


@pytest.mark.parametrize("size", [1, 1_024, 1_025, MAX_BODY])
def test_a_message_comes_back_whole_whatever_its_size(localnet, size):
    body = bytes(range(256)) * (size // 256 + 1)

    async def test(operator: Hedera) -> None:
        topic = await operator.create_topic()
        await operator.topic(topic).submit(body[:size])
        (message,) = await read(operator, topic, 1)
        assert message.body == body[:size]
        assert message.sequence == -(-size // 1_024)
        assert message.payer == operator.account

    run("asyncio", localnet, test)


def test_long_messages_of_concurrent_writers_do_not_mix(localnet):
    bodies = {bytes([n]) * 2_500 for n in range(6)}

    async def test(operator: Hedera) -> None:
        topic = operator.topic(await operator.create_topic())
        async with anyio.create_task_group() as tasks:
            for body in bodies:
                tasks.start_soon(topic.submit, body)
        assert {message.body for message in await read(operator, topic.id, 6)} == bodies

    run("trio", localnet, test)


@pytest.mark.parametrize("size", [0, MAX_BODY + 1])
def test_a_message_of_impossible_size_is_refused(localnet, size):
    async def test(operator: Hedera) -> None:
        with pytest.raises(TopicRefused, match=f"not {size}"):
            await operator.topic(TopicId("0.0.1001")).submit(bytes(size))

    run("asyncio", localnet, test)


@pytest.mark.parametrize("size", [10, 3_000])
def test_who_has_no_submit_key_is_refused(localnet, size):
    async def test(operator: Hedera) -> None:
        member, stranger = await new_person(operator), await new_person(operator)
        topic = await operator.create_topic("members only", [public(member.key)])
        async with open_hedera(localnet.network, stranger.account, stranger.key.secret) as hedera:
            with pytest.raises(TopicRefused, match="INVALID_SIGNATURE; the key") as caught:
                await hedera.topic(topic).submit(bytes(size))
        assert "\n" not in str(caught.value)

    run("asyncio", localnet, test)


def test_a_wrong_account_key_is_refused(localnet):
    async def test(operator: Hedera) -> None:
        person, other = await new_person(operator), coincurve.PrivateKey()
        topic = await operator.create_topic()
        async with open_hedera(localnet.network, person.account, other.secret) as hedera:
            with pytest.raises(TopicRefused, match="INVALID_SIGNATURE"):
                await hedera.topic(topic).submit(b"x")

    run("asyncio", localnet, test)


def test_a_topic_that_is_not_there_is_refused(localnet):
    async def test(operator: Hedera) -> None:
        with pytest.raises(TopicRefused, match="INVALID_TOPIC_ID; there is no such topic"):
            await operator.topic(TopicId("0.0.999999")).submit(b"x")

    run("asyncio", localnet, test)


def test_money_moves_and_the_mirror_shows_by_which_transaction(localnet):
    async def test(operator: Hedera) -> None:
        person = await new_person(operator)
        transaction_id = await operator.transfer(person.account, Tinybar(7), "a stake")
        assert (await operator.mirror.account(person.account)).balance.balance == 100 * HBAR + 7
        (transaction,) = await operator.mirror.transaction(transaction_id)
        assert transaction["result"] == "SUCCESS"
        assert {"account": person.account, "amount": 7}.items() <= transaction["transfers"][-1].items()
        assert transaction in await operator.mirror.transactions(person.account)
        async with open_hedera(localnet.network, person.account, person.key.secret) as poor:
            with pytest.raises(LedgerError, match=r"INSUFFICIENT_.*_BALANCE; .* send it some hbar"):
                await poor.transfer(operator.account, Tinybar(1_000 * HBAR))

    run("asyncio", localnet, test)


def test_an_account_may_have_a_threshold_key(localnet):
    async def test(operator: Hedera) -> None:
        keys = tuple(public(coincurve.PrivateKey()) for _ in range(3))
        account = await operator.create_account(SharedKey(2, keys), HBAR, "treasury")
        shown = await operator.mirror.account(account)
        assert shown.key is not None
        assert shown.key.type == "ProtobufEncoded"
        assert all(key.hex() in shown.key.key for key in keys)
        with pytest.raises(LedgerError, match="can never be met"):
            await operator.create_account(SharedKey(4, keys), HBAR)

    run("asyncio", localnet, test)


def test_the_same_transaction_twice_takes_effect_once(localnet):
    async def test(operator: Hedera) -> None:
        topic = await operator.create_topic()
        session: Session = operator.session
        transaction = TopicMessageSubmitTransaction(SdkTopic.from_string(topic), b"once" * 600)
        transaction.set_transaction_id(session.transaction_id(TransactionClock().next()))
        for _ in range(2):
            submission = Submission(transaction)
            await anyio.to_thread.run_sync(submission.advance, session.client)
            assert [receipt.status for receipt in submission.receipts] == [ResponseCode.SUCCESS] * 3
        await operator.topic(topic).submit(b"after")
        messages = await read(operator, topic, 2)
        assert [(message.sequence, message.body) for message in messages] == [
            (3, b"once" * 600),
            (4, b"after"),
        ]

    run("asyncio", localnet, test)


def test_a_node_that_is_not_there_is_one_line_with_cause_and_remedy(localnet):
    network = replace(localnet.network, nodes={"0.0.3": "127.0.0.1:1"})

    async def main() -> None:
        async with open_hedera(network, localnet.operator, localnet.key, patience=0.1) as hedera:
            with pytest.raises(LedgerError) as caught:
                await hedera.topic(TopicId("0.0.1001")).submit(b"x")
            assert not isinstance(caught.value, TopicRefused)
            message = str(caught.value)
            assert message.startswith("cannot write to topic 0.0.1001: no node answered")
            assert "127.0.0.1:1" in message
            assert message.endswith("check [ledger] nodes")
            assert "\n" not in message

    anyio.run(main)


def test_the_mirror_describes_topic_and_network(localnet):
    async def test(operator: Hedera) -> None:
        member = public(coincurve.PrivateKey())
        info = await operator.mirror.topic_info(await operator.create_topic("a run", [member]))
        assert info.memo == "a run"
        assert info.submit_key is not None
        assert member.hex() in info.submit_key.key
        shown = {node.node_account_id: node.service_endpoints for node in await operator.mirror.nodes()}
        for account, address in localnet.network.nodes.items():
            assert int(address.rpartition(":")[2]) in [endpoint.port for endpoint in shown[account]]

    run("asyncio", localnet, test)


class Ear(logging.Handler):
    """Hears what is logged about a topic's reach, and tells when it is the first time."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.levels: list[str] = []
        self.first = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.append(record.levelname)
        self.first.set()


@asynccontextmanager
async def listening(name: str) -> AsyncIterator[Ear]:
    ear, logger = Ear(), logging.getLogger(name)
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)
    yield ear
    logger.removeHandler(ear)
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_outage_delays_messages_and_loses_none(localnet, backend, monkeypatch):
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 0.1)
    real = localnet.network
    ((node, address), *_) = real.nodes.items()
    rest = real.mirror_rest.removeprefix("http://")

    async def test(_: Hedera) -> None:
        async with listening("ledger.follow") as ear, gates(address, rest, real.mirror_grpc) as doors:
            nodes, web, stream = (door.address for door in doors)
            network = Network("localnet", {node: nodes}, f"http://{web}", stream)
            async with open_hedera(network, localnet.operator, localnet.key) as hedera:
                topic = hedera.topic(await hedera.create_topic())
                seen = {name: anyio.Event() for name in (b"before", b"during", b"after")}
                found: list[bytes] = []

                async def follow() -> None:
                    async with aclosing(topic.follow()) as messages:
                        async for message in messages:
                            if message is not None:
                                found.append(message.body)
                                seen[message.body].set()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(follow)
                    await topic.submit(b"before")
                    await seen[b"before"].wait()
                    for door in doors:
                        await door.close()
                    tasks.start_soon(topic.submit, b"during")
                    await ear.first.wait()
                    for door in doors:
                        await door.open()
                    await seen[b"during"].wait()
                    await topic.submit(b"after")
                    await seen[b"after"].wait()
                    tasks.cancel_scope.cancel()
            assert found == [b"before", b"during", b"after"]
            assert ear.levels == ["WARNING", "INFO"]

    run(backend, localnet, test)
