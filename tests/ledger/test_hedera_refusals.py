from functools import partial

import anyio
import grpc
import pytest

from ledger import delivery as delivery_module
from ledger import hedera as hedera_module
from ledger import session as session_module
from ledger.hedera import Network, open_hedera
from ledger.hiero import ResponseCode, TopicMessageSubmitTransaction
from ledger.hiero import TopicId as SdkTopic
from ledger.session import Refused
from ledger.topic import LedgerError, TopicRefused
from protocol.ids import AccountId, Tinybar, TopicId
from tests.ledger.scripted_node import ScriptedNode, scripted_node

KEY = bytes(range(1, 33))
TOPIC = TopicId("0.0.1001")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(delivery_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(hedera_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(session_module, "_MIN_BACKOFF", 0.001)
    monkeypatch.setattr(session_module, "_MAX_BACKOFF", 0.001)
    monkeypatch.setattr(session_module, "_RECEIPT_ATTEMPTS", 3)


def submit(node: ScriptedNode, body: bytes = b"x", backend: str = "asyncio", patience: float = 30) -> None:
    async def main() -> None:
        network = Network("localnet", {"0.0.3": node.address}, "http://127.0.0.1:1")
        async with open_hedera(network, AccountId("0.0.7"), KEY, patience=patience) as hedera:
            await hedera.topic(TOPIC).submit(body)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "prechecks",
    [
        ["BUSY", "PLATFORM_NOT_ACTIVE", "BUSY", "BUSY", "BUSY", "BUSY", "OK"],
        [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, "OK"],
        [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, "OK"],
    ],
)
def test_a_node_that_cannot_now_is_asked_again_with_the_same_transaction(backend, prechecks):
    with scripted_node(prechecks) as node:
        submit(node, backend=backend)
    assert len(node.submitted) == len(prechecks)
    assert len(set(node.submitted)) == 1


def test_an_answer_that_was_lost_is_found_by_its_receipt():
    with scripted_node([grpc.StatusCode.UNAVAILABLE, "DUPLICATE_TRANSACTION"]) as node:
        submit(node)
    assert len(node.submitted) == 2


def test_a_duplicate_that_failed_is_no_success():
    with (
        scripted_node(["DUPLICATE_TRANSACTION"], ["INVALID_SIGNATURE"]) as node,
        pytest.raises(TopicRefused, match="INVALID_SIGNATURE"),
    ):
        submit(node)


def test_a_receipt_that_is_late_is_waited_for():
    late = ["RECEIPT_NOT_FOUND", "UNKNOWN"] * 4
    with scripted_node(["OK", "DUPLICATE_TRANSACTION"], [*late, "SUCCESS"]) as node:
        submit(node)
    assert len(set(node.submitted)) == 1


def test_only_chunks_without_a_receipt_are_sent_again():
    with scripted_node(["OK"], ["SUCCESS", "UNKNOWN", "UNKNOWN", "UNKNOWN", "SUCCESS"]) as node:
        submit(node, b"x" * 3_000)
    first, second, third = node.submitted[:3]
    assert len({first, second, third}) == 3
    assert node.submitted[3:] == [second, third]


REFUSALS = {
    "INVALID_SIGNATURE": "check both",
    "INVALID_TOPIC_ID": "check the topic",
    "INSUFFICIENT_PAYER_BALANCE": "send it some hbar",
    "PAYER_ACCOUNT_NOT_FOUND": "check the account",
    "UNAUTHORIZED": "look the code up",
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("where", ["precheck", "receipt"])
def test_a_refusal_is_final_and_one_line_with_a_remedy(status, where):
    scripts = ([status], ["SUCCESS"]) if where == "precheck" else (["OK"], [status])
    with scripted_node(*scripts) as node, pytest.raises(TopicRefused, match=REFUSALS[status]) as caught:
        submit(node)
    assert len(node.submitted) == 1
    message = str(caught.value)
    assert message.startswith(f"cannot write to topic {TOPIC} as 0.0.7: {status}; ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("status", "remedy"),
    [("INVALID_TRANSACTION_START", "clock is ahead"), ("TRANSACTION_EXPIRED", "clock is behind")],
)
def test_a_wrong_clock_is_not_the_messages_fault(status, remedy):
    with scripted_node([status]) as node, pytest.raises(LedgerError, match=remedy) as caught:
        submit(node)
    assert not isinstance(caught.value, TopicRefused)


def execute(node: ScriptedNode, patience: float) -> None:
    async def main() -> None:
        network = Network("localnet", {"0.0.3": node.address}, "http://127.0.0.1:1")
        async with open_hedera(network, AccountId("0.0.7"), KEY, patience=patience) as hedera:
            topic = SdkTopic.from_string(TOPIC)
            build = partial(TopicMessageSubmitTransaction, topic, b"x")
            await hedera.execute(build, "write", Tinybar(1_000))

    anyio.run(main)


def test_what_consensus_had_no_room_for_is_sent_under_another_id():
    receipts = ["THROTTLED_AT_CONSENSUS", "TRANSACTION_EXPIRED", "SUCCESS"]
    with scripted_node(["OK"], receipts) as node:
        execute(node, patience=30)
    assert len(node.submitted) == len(set(node.submitted)) == 3


@pytest.mark.parametrize(
    ("receipt", "patience"), [("THROTTLED_AT_CONSENSUS", 0.0), ("INSUFFICIENT_TX_FEE", 30.0)]
)
def test_a_refusal_that_ends_an_attempt_has_the_network_s_receipt(receipt, patience):
    with scripted_node(["OK"], [receipt]) as node, pytest.raises(Refused) as caught:
        execute(node, patience)
    assert len(node.submitted) == 1
    assert caught.value.receipt is not None
    assert ResponseCode(caught.value.receipt.status).name == caught.value.status == receipt


def test_patience_ends():
    with (
        scripted_node(["BUSY"]) as node,
        pytest.raises(LedgerError, match=r"BUSY at .* for \d\.\d s; is the network up") as caught,
    ):
        submit(node, patience=0.05)
    assert not isinstance(caught.value, TopicRefused)
