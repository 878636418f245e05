"""From the outbox to a network that loses answers, throttles, or forgets: what is meant once happens once."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import coincurve
import grpc
import pytest

from ledger import delivery as delivery_module
from ledger import session as session_module
from ledger.delivery import LIFETIME, transaction_of
from ledger.hedera import Hedera, Network, open_hedera
from ledger.hiero import Transaction
from ledger.keys import signing_key
from ledger.outbox import DEFAULT_SPEND_LIMIT, FEE_CAP, Deed, Message, Outbox, OverBudget, Payment
from ledger.session import Session, Submission, nodes_of
from ledger.topic import LedgerError, TopicRefused
from protocol.ids import SECOND, AccountId, Nanoseconds, PublicKey, Tinybar, TopicId
from tests.ledger.localnet_process import Localnet
from tests.ledger.scripted_node import scripted_node

KEY = bytes(range(1, 33))
ACCOUNT = AccountId("0.0.7")
TOPIC = TopicId("0.0.1001")
HBAR = 100_000_000
MESSAGE_FEE, TRANSFER_FEE = 800_000, 100_000
"""On the localnet, tinybar: $0.0008 and $0.0001 at $0.10 an hbar."""


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(delivery_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(session_module, "_MIN_BACKOFF", 0.001)
    monkeypatch.setattr(session_module, "_MAX_BACKOFF", 0.001)
    monkeypatch.setattr(session_module, "_RECEIPT_ATTEMPTS", 3)


def on_scripted(
    outbox: Outbox,
    nodes: dict[str, str],
    act: Callable[[Hedera], Awaitable[Any]],
    patience: float = 30,
) -> None:
    async def main() -> None:
        network = Network("localnet", nodes, "http://127.0.0.1:1")
        with anyio.fail_after(60):
            async with open_hedera(network, ACCOUNT, KEY, patience=patience, outbox=outbox) as hedera:
                await act(hedera)

    anyio.run(main)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox.open(tmp_path / "outbox.db") as opened:
        yield opened


def test_the_same_message_at_once_is_sent_once(quick, outbox):
    async def act(hedera: Hedera) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(hedera.submit, TOPIC, b"x")

    with scripted_node(["BUSY", "OK"]) as node:
        on_scripted(outbox, {"0.0.3": node.address}, act)
        assert len(set(node.submitted)) == 1


def test_a_message_with_a_key_is_sent_once_ever(quick, outbox):
    async def act(hedera: Hedera) -> None:
        for _ in range(3):
            await hedera.submit(TOPIC, b"x", key="x")

    with scripted_node() as node:
        for _ in range(2):
            on_scripted(outbox, {"0.0.3": node.address}, act)
        assert len(node.submitted) == 1


def test_what_was_throttled_at_consensus_goes_again_under_a_new_id(quick, outbox):
    async def act(hedera: Hedera) -> None:
        await hedera.submit(TOPIC, b"x")

    with scripted_node(receipts=["THROTTLED_AT_CONSENSUS", "TRANSACTION_EXPIRED", "SUCCESS"]) as node:
        on_scripted(outbox, {"0.0.3": node.address}, act)
        assert len(node.submitted) == len(set(node.submitted)) == 3


def test_another_node_takes_over(quick, outbox):
    async def act(hedera: Hedera) -> None:
        for n in range(4):
            await hedera.submit(TOPIC, bytes([n]))

    with scripted_node() as node:
        on_scripted(outbox, {"0.0.3": "127.0.0.1:1", "0.0.4": node.address}, act)
        assert len(set(node.submitted)) == 4


def test_a_refusal_is_not_believed_after_an_answer_was_lost(quick, outbox):
    async def act(hedera: Hedera) -> None:
        with pytest.raises(LedgerError, match="INSUFFICIENT_PAYER_BALANCE") as caught:
            await hedera.submit(TOPIC, b"x")
        assert not isinstance(caught.value, TopicRefused)

    with scripted_node([*[grpc.StatusCode.UNAVAILABLE] * 3, "INSUFFICIENT_PAYER_BALANCE"]) as node:
        on_scripted(outbox, {"0.0.3": node.address}, act)
        assert len(set(node.submitted)) == 1
    (entry,) = outbox.pending("localnet 0.0.7")
    assert entry.deed == Message(TOPIC, b"x")


def test_what_patience_was_too_short_for_is_done_after_a_restart(quick, outbox):
    async def impatient(hedera: Hedera) -> None:
        with pytest.raises(LedgerError, match="BUSY at"):
            await hedera.submit(TOPIC, b"x" * 3_000)

    async def until_done(_: Hedera) -> None:
        while outbox.pending("localnet 0.0.7"):
            await anyio.sleep(0.01)

    with scripted_node(["BUSY"]) as node:
        on_scripted(outbox, {"0.0.3": node.address}, impatient, patience=0.01)
        before = set(node.submitted)
    with scripted_node() as node:
        on_scripted(outbox, {"0.0.3": node.address}, until_done)
        assert len(node.submitted) == 3
        assert before <= set(node.submitted)


def test_a_call_that_is_cancelled_is_carried_on_with(quick, outbox):
    async def act(hedera: Hedera) -> None:
        with anyio.move_on_after(0):
            await hedera.submit(TOPIC, b"x")
        while outbox.pending("localnet 0.0.7"):
            await anyio.sleep(0.01)

    with scripted_node(["BUSY", "OK"]) as node:
        on_scripted(outbox, {"0.0.3": node.address}, act)
        assert len(set(node.submitted)) == 1


@pytest.mark.parametrize(("ahead", "continues"), [(8, True), (86_400, False)])
def test_ids_increase_across_restarts_unless_the_clock_was_wrong(quick, outbox, ahead, continues):
    async def act(hedera: Hedera) -> None:
        await hedera.submit(TOPIC, b"x", key="x")

    last = Nanoseconds(time.time_ns() + ahead * SECOND)
    outbox.note(last, Tinybar(0))
    with scripted_node() as node:
        on_scripted(outbox, {"0.0.3": node.address}, act)
    entry = outbox.enqueue("localnet 0.0.7", Message(TOPIC, b"x"), "x", Nanoseconds(0))
    assert (entry.start >= last + 1_000) == continues
    assert entry.start < time.time_ns() + 10 * SECOND


@pytest.mark.parametrize("amount", [0, DEFAULT_SPEND_LIMIT])
def test_over_the_limit_nothing_is_sent(quick, tmp_path, amount):
    limit = Tinybar(DEFAULT_SPEND_LIMIT if amount else FEE_CAP - 1)

    async def act(hedera: Hedera) -> None:
        with pytest.raises(OverBudget, match=r"limit of .* raise \[ledger\] spend_limit"):
            await hedera.transfer(AccountId("0.0.8"), Tinybar(amount))

    with scripted_node() as node, Outbox.open(tmp_path / "outbox.db", limit) as outbox:
        on_scripted(outbox, {"0.0.3": node.address}, act)
        assert node.submitted == []
        assert outbox.pending("localnet 0.0.7") == ()


@dataclass(frozen=True)
class Scene:
    """A member of a localnet with an account, someone to pay, and a topic."""

    network: Network
    account: AccountId
    key: bytes
    payee: AccountId
    topic: TopicId

    @property
    def owner(self) -> str:
        return f"{self.network.name} {self.account}"


async def scene_on(localnet: Localnet) -> Scene:
    key = coincurve.PrivateKey()
    async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
        account = await operator.create_account(PublicKey(key.public_key.format()), Tinybar(10 * HBAR))
        payee = await operator.create_account(PublicKey(key.public_key.format()), Tinybar(0))
        return Scene(localnet.network, account, key.secret, payee, await operator.create_topic())


def frozen(scene: Scene, session: Session, deed: Deed, start: Nanoseconds) -> Transaction:
    transaction = transaction_of(deed, scene.account)
    transaction.set_transaction_id(session.transaction_id(start))
    return transaction.freeze_with(session.client)


def sent(scene: Scene, deed: Deed, start: Nanoseconds, chunks: int) -> None:
    """Send the first chunks of a deed as a process would have that then was killed."""
    network = scene.network
    nodes = nodes_of(network.name, network.nodes)
    session = Session(network.name, nodes, network.mirror_grpc, scene.account, signing_key(scene.key))
    transaction = frozen(scene, session, deed, start)
    if chunks == deed.chunks:
        Submission(transaction).advance(session.client)
    else:
        for number in range(chunks):
            transaction._transaction_ids.set_index(number)
            transaction._node_account_ids.set_index(0)
            Transaction.execute(transaction, session.client)
    session.close()


async def bodies(hedera: Hedera, topic: TopicId) -> list[bytes]:
    found = []
    async with aclosing(hedera.topic(topic).follow()) as messages:
        async for message in messages:
            if message is None:
                break
            found.append(message.body)
    return found


@pytest.mark.parametrize(
    ("backend", "kind", "chunks_sent"),
    [
        ("trio", "message", 0),
        ("asyncio", "message", 1),
        ("asyncio", "message", 2),
        ("trio", "message", 3),
        ("asyncio", "payment", 0),
        ("trio", "payment", 0),
        ("asyncio", "payment", 1),
    ],
)
def test_what_is_too_old_to_be_sent_again_happens_once(
    localnet, outbox, monkeypatch, backend, kind, chunks_sent
):
    monkeypatch.setattr(delivery_module, "_MARGIN", Nanoseconds(3 * SECOND))
    monkeypatch.setattr(delivery_module, "_AFTERLIFE", Nanoseconds(SECOND))
    monkeypatch.setattr(delivery_module, "_LONGEST_PAUSE", 0.5)

    async def main() -> None:
        scene = await scene_on(localnet)
        deed: Deed = Message(scene.topic, b"x" * 2_500)
        if kind == "payment":
            deed = Payment(scene.payee, Tinybar(70), "a stake")
        # Its lifetime ends in 2 s: time enough for the network to take it, but not to be sent again.
        start = Nanoseconds(time.time_ns() - LIFETIME + 2 * SECOND)
        if chunks_sent:
            await anyio.to_thread.run_sync(sent, scene, deed, start, chunks_sent)
        noted = outbox.enqueue(scene.owner, deed, "stake", start)
        with anyio.fail_after(30):
            async with open_hedera(scene.network, scene.account, scene.key, outbox=outbox) as hedera:
                if kind == "payment":
                    done = await hedera.transfer(scene.payee, Tinybar(70), "a stake", key="stake")
                    (shown,) = await hedera.mirror.transaction(done)
                    assert shown["result"] == "SUCCESS"
                    assert (await hedera.mirror.account(scene.payee)).balance.balance == 70
                else:
                    await hedera.submit(scene.topic, b"x" * 2_500, key="stake")
                    assert await bodies(hedera, scene.topic) == [b"x" * 2_500]
        after = outbox.enqueue(scene.owner, deed, "stake", Nanoseconds(0))
        assert after.state == "done"
        assert (after.start == noted.start) == (chunks_sent == deed.chunks)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("chunks_sent", [0, 1, 3])
def test_the_rest_of_a_message_follows_while_readers_still_wait(localnet, outbox, chunks_sent):
    async def main() -> None:
        scene = await scene_on(localnet)
        deed = Message(scene.topic, b"x" * 2_500)
        start = Nanoseconds(time.time_ns() - 70 * SECOND)
        if chunks_sent:
            await anyio.to_thread.run_sync(sent, scene, deed, start, chunks_sent)
        outbox.enqueue(scene.owner, deed, None, start)
        with anyio.fail_after(30):
            async with open_hedera(scene.network, scene.account, scene.key, outbox=outbox) as hedera:
                await hedera.submit(scene.topic, b"x" * 2_500)
                assert await bodies(hedera, scene.topic) == [b"x" * 2_500]
                for number in range(3):
                    seconds, nanos = divmod(start + number, SECOND)
                    assert await hedera.mirror.transaction(f"{scene.account}-{seconds}-{nanos:09}")
        assert outbox.pending(scene.owner) == ()

    anyio.run(main)


@pytest.mark.parametrize("amount", [0, 1])
def test_a_senseless_transfer_harms_nobody(localnet, outbox, amount):
    async def main() -> None:
        scene = await scene_on(localnet)
        with anyio.fail_after(30):
            async with open_hedera(scene.network, scene.account, scene.key, outbox=outbox) as hedera:
                with suppress(LedgerError):
                    await hedera.transfer(scene.account, Tinybar(amount), "to myself")
                await hedera.transfer(scene.payee, Tinybar(7))
                assert (await hedera.mirror.account(scene.payee)).balance.balance == 7
        assert outbox.pending(scene.owner) == ()

    anyio.run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_waits_is_told_when_the_account_is_closed(quick, outbox, backend):
    async def wait(hedera: Hedera) -> None:
        with pytest.raises(LedgerError, match="the account was closed before the network answered"):
            await hedera.submit(TOPIC, b"x")

    async def main() -> None:
        with scripted_node(["BUSY"]) as node, anyio.fail_after(30):
            network = Network("localnet", {"0.0.3": node.address}, "http://127.0.0.1:1")
            async with (
                anyio.create_task_group() as tasks,
                open_hedera(network, ACCOUNT, KEY, outbox=outbox) as hedera,
            ):
                tasks.start_soon(wait, hedera)
                while not node.submitted:
                    await anyio.sleep(0.001)
        assert len(outbox.pending("localnet 0.0.7")) == 1

    anyio.run(main, backend=backend)


def test_what_is_spent_is_in_the_end_what_it_cost(localnet, outbox, monkeypatch):
    monkeypatch.setattr(delivery_module, "_PRICE_PAUSE", 0.05)

    async def main() -> None:
        scene = await scene_on(localnet)
        with anyio.fail_after(60):
            async with open_hedera(scene.network, scene.account, scene.key, outbox=outbox) as hedera:
                await hedera.submit(scene.topic, b"x" * 3_000)
                await hedera.transfer(scene.payee, Tinybar(70))
                while outbox.spent() != 3 * MESSAGE_FEE + TRANSFER_FEE + 70:
                    await anyio.sleep(0.05)
            left = (await hedera_balance(scene)) + outbox.spent()
            assert left == 10 * HBAR

    async def hedera_balance(scene: Scene) -> int:
        async with open_hedera(scene.network, scene.account, scene.key) as hedera:
            return (await hedera.mirror.account(scene.account)).balance.balance

    anyio.run(main)
