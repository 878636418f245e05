"""What the network does besides being correct: late finality, busy and absent nodes, a mirror that lags."""

import asyncio
import time
from collections.abc import Iterator

import grpc
import httpx
import pytest

from ledger.hiero import (
    AccountId,
    Client,
    Network,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TransactionGetReceiptQuery,
    _Node,
    query_pb2,
    response_pb2,
    transaction_response_pb2,
)
from ledger.localnet.behaviour import MILLISECOND_NS, Behaviour, Outage
from ledger.localnet.description import Description
from ledger.localnet.errors import LocalnetError, Refused
from ledger.localnet.journal import Genesis, Journal
from ledger.localnet.network import LocalNetwork, replay
from ledger.localnet.serve import Ports
from ledger.localnet.state import NODE, OPERATOR, SECOND_NS, SUPPLY
from tests.ledger.localnet_bodies import (
    KEY,
    NOW,
    account_body,
    body_at,
    signed,
    topic_body,
    transfer_body,
)
from tests.ledger.localnet_process import running_localnet

GENESIS = Genesis(time=1, operator_key=KEY.public_key().to_bytes_raw())
SLOW = Behaviour(finality_ns=5 * MILLISECOND_NS)
LAGGING = Behaviour(mirror_lag_ns=5 * MILLISECOND_NS)
CREATE_TOPIC = "/proto.ConsensusService/createTopic"
GET_RECEIPT = "/proto.CryptoService/getTransactionReceipts"


def test_a_seed_decides_who_meets_a_busy_node():
    behaviour = Behaviour(busy_ppm=250_000, seed=7)
    drawn = [behaviour.is_busy(NODE, n) for n in range(4_000)]
    assert drawn == [behaviour.is_busy(NODE, n) for n in range(4_000)]
    assert 900 < sum(drawn) < 1_100
    assert drawn != [Behaviour(busy_ppm=250_000, seed=8).is_busy(NODE, n) for n in range(4_000)]
    assert drawn != [behaviour.is_busy(NODE + 1, n) for n in range(4_000)]
    assert not any(Behaviour().is_busy(NODE, n) for n in range(100))
    assert all(Behaviour(busy_ppm=1_000_000).is_busy(NODE, n) for n in range(100))


def test_an_outage_is_one_node_s_and_ends():
    behaviour = Behaviour(outages=(Outage.parse("0.0.4:10-20"), Outage.parse("0.0.4:30-31")))
    seconds = [s for s in range(40) if behaviour.is_out(4, s * SECOND_NS)]
    assert seconds == [*range(10, 20), 30]
    assert not any(behaviour.is_out(3, s * SECOND_NS) for s in range(40))


@pytest.mark.parametrize(
    "text", ["", "4:1-2", "0.0.99:1-2", "0.0.4:5-5", "0.0.4:5", "0.0.4:-1-5", "0.0.4:1-2s"]
)
def test_an_outage_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(LocalnetError, match=r"such as 0\.0\.3:10-20"):
        Outage.parse(text)


def test_the_first_node_keeps_the_presets_and_the_others_follow():
    assert Ports.preset(3) == Ports(more_nodes=(50213, 50214))
    assert Ports.preset() == Ports()


async def test_a_receipt_is_late_and_says_so_until_then(tmp_path):
    with Journal(tmp_path / "journal", GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW, SLOW)
        changed = network.changed
        raw = signed(topic_body())
        key = (OPERATOR, NOW // SECOND_NS, NOW % SECOND_NS, False)
        assert await network.submit(raw, NODE) is None
        assert network.is_pending(key)
        assert not network.ledger.entries
        with pytest.raises(Refused, match="DUPLICATE_TRANSACTION"):
            await network.submit(raw, NODE)
        with pytest.raises(Refused, match="INVALID_SIGNATURE"):
            await network.submit(signed(topic_body(NOW + 1), PrivateKey.generate_ed25519()), NODE)
        await asyncio.wait_for(changed.wait(), 10)
        assert not network.is_pending(key)
        assert key in network.ledger.by_id
    with Journal(tmp_path / "journal", GENESIS) as journal:
        assert replay(journal) == network.ledger


async def test_what_cannot_be_paid_for_any_more_never_reaches_consensus(tmp_path):
    with Journal(tmp_path / "journal", GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW, SLOW)
        changed = network.changed
        all_of_it = transfer_body(NOW, (OPERATOR, -(SUPPLY - 100_000)), (NODE, SUPPLY - 100_000))
        assert await network.submit(signed(all_of_it), NODE) is None
        assert await network.submit(signed(topic_body(NOW + 1)), NODE) is None
        await asyncio.wait_for(changed.wait(), 10)
        while network.is_pending((OPERATOR, NOW // SECOND_NS, 1, False)):
            await asyncio.sleep(0)
        assert len(network.ledger.entries) == 1
        assert network.ledger.accounts[NODE].balance == SUPPLY - 100_000


async def test_a_mirror_that_lags_shows_an_exact_earlier_ledger(tmp_path):
    with Journal(tmp_path / "journal", GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW, LAGGING)
        changed = network.changed
        body = account_body(NOW, network.ledger.accounts[OPERATOR].key, 500)
        entry = await network.submit(signed(body), NODE)
        assert entry is not None
        assert entry.entity in network.ledger.accounts
        assert entry.entity not in network.mirror.accounts
        assert network.mirror.accounts[OPERATOR].balance == SUPPLY
        assert not changed.is_set()
        await asyncio.wait_for(changed.wait(), 10)
        assert network.mirror == network.ledger
        assert network.mirror is not network.ledger
        # A later schedule does not leak through anything that the two might share.
        await network.submit(signed(topic_body(NOW + 1)), NODE)
        assert len(network.mirror.entries) == 1


def client_of(description: Description, *nodes: str) -> Client:
    known = [_Node(AccountId.from_string(node), description.nodes[node], None) for node in nodes]
    client = Client(Network("localnet", nodes=known, mirror_address=description.mirror_grpc))
    client.set_operator(AccountId(0, 0, 2), PrivateKey.from_string(description.operator_key))
    return client


def raw_call(address: str, method: str, request: bytes) -> bytes:
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary(method)(request, timeout=10)


def operator_body(description: Description, node: int):
    body = body_at(time.time_ns() - SECOND_NS)
    body.nodeAccountID.accountNum = node
    body.consensusCreateTopic.autoRenewPeriod.seconds = 7_776_000
    return body, PrivateKey.from_string(description.operator_key)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Iterator[Description]:
    """Three nodes, of which 0.0.4 is out; finality after 300 ms."""
    options = ("--nodes", "3", "--outage", "0.0.4:0-3600", "--finality-ms", "300")
    with running_localnet(tmp_path_factory.mktemp("localnet"), *options) as localnet:
        yield localnet.description


def test_each_node_has_a_port_and_an_account_of_its_own(faulty):
    assert list(faulty.nodes) == ["0.0.3", "0.0.4", "0.0.5"]
    assert len(set(faulty.nodes.values())) == 3
    shown = httpx.get(f"{faulty.mirror_rest}/api/v1/network/nodes").json()["nodes"]
    endpoints = {node["node_account_id"]: node["service_endpoints"][0]["port"] for node in shown}
    assert {node: f"127.0.0.1:{port}" for node, port in endpoints.items()} == faulty.nodes
    assert [node["node_id"] for node in shown] == [0, 1, 2]
    assert all("not a public network" in node["description"] for node in shown)
    body, key = operator_body(faulty, 5)
    answer = raw_call(faulty.nodes["0.0.3"], CREATE_TOPIC, signed(body, key))
    response = transaction_response_pb2.TransactionResponse.FromString(answer)
    assert response.nodeTransactionPrecheckCode == ResponseCode.INVALID_NODE_ACCOUNT


def test_a_node_that_is_out_says_so_to_every_call(faulty):
    body, key = operator_body(faulty, 4)
    for method, request in ((CREATE_TOPIC, signed(body, key)), (GET_RECEIPT, b"")):
        with pytest.raises(grpc.RpcError) as refused:
            raw_call(faulty.nodes["0.0.4"], method, request)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_receipt_is_unknown_first_and_the_sdk_waits_for_it(faulty):
    body, key = operator_body(faulty, 3)
    answer = raw_call(faulty.nodes["0.0.3"], CREATE_TOPIC, signed(body, key))
    response = transaction_response_pb2.TransactionResponse.FromString(answer)
    assert response.nodeTransactionPrecheckCode == ResponseCode.OK
    query = query_pb2.Query()
    query.transactionGetReceipt.transactionID.CopyFrom(body.transactionID)
    # Asked at another node: it is one network.
    answer = raw_call(faulty.nodes["0.0.5"], GET_RECEIPT, query.SerializeToString())
    receipt = response_pb2.Response.FromString(answer).transactionGetReceipt
    assert receipt.header.nodeTransactionPrecheckCode == ResponseCode.OK
    assert receipt.receipt.status == ResponseCode.UNKNOWN

    client = client_of(faulty, "0.0.3", "0.0.5")
    submitted = TopicCreateTransaction(memo="late").execute(client, wait_for_receipt=False)
    final = TransactionGetReceiptQuery(submitted.transaction_id).execute(client)
    assert final.status == ResponseCode.SUCCESS
    client.close()


def test_a_busy_network_looks_at_nothing(tmp_path):
    with running_localnet(tmp_path, "--busy-ppm", "1000000") as localnet:
        body, key = operator_body(localnet.description, 3)
        for request in (signed(body, key), b"junk"):
            answer = raw_call(localnet.description.nodes["0.0.3"], CREATE_TOPIC, request)
            response = transaction_response_pb2.TransactionResponse.FromString(answer)
            assert response.nodeTransactionPrecheckCode == ResponseCode.BUSY
        rest = localnet.description.mirror_rest
        assert httpx.get(f"{rest}/api/v1/transactions").json()["transactions"] == []
