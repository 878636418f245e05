"""The mirror's faces, and what strangers may throw at any of them."""

import base64
from collections.abc import Iterator
from urllib.parse import quote

import grpc
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.hiero import (
    AccountId,
    Client,
    Network,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    _Node,
    basic_types_pb2,
    mirror_consensus_service_pb2,
    query_pb2,
    response_pb2,
    transaction_response_pb2,
)
from ledger.localnet.description import Description
from ledger.localnet.hapi_service import methods_taking
from ledger.localnet.queries import QUERIES
from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash
from tests.ledger.localnet_process import running_localnet

COUNT = 130
API = "/api/v1"


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Iterator[Description]:
    with running_localnet(tmp_path_factory.mktemp("localnet")) as localnet:
        yield localnet.description


@pytest.fixture(scope="module")
def topic(description) -> str:
    """A topic with COUNT messages."""
    node = _Node(AccountId(0, 0, 3), description.nodes["0.0.3"], None)
    client = Client(Network("localnet", nodes=[node], mirror_address=description.mirror_grpc))
    client.set_operator(AccountId(0, 0, 2), PrivateKey.from_string(description.operator_key))
    topic = TopicCreateTransaction(memo="paged").execute(client).topic_id
    for i in range(COUNT):
        receipt = TopicMessageSubmitTransaction(topic, f"message {i}").execute(client)
        assert receipt.status == ResponseCode.SUCCESS
    client.close()
    return str(topic)


@pytest.fixture(scope="module")
def rest(description) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=description.mirror_rest) as client:
        yield client


def pages(rest, url) -> Iterator[list[dict]]:
    while url is not None:
        answer = rest.get(url).raise_for_status().json()
        yield answer["messages"] if "messages" in answer else answer["transactions"]
        url = answer["links"]["next"]


def nanoseconds(timestamp: str) -> int:
    seconds, nanos = timestamp.split(".")
    return int(seconds) * 1_000_000_000 + int(nanos)


def test_the_pages_hold_every_message_once_and_the_hashes_chain(rest, topic):
    messages = [message for page in pages(rest, f"{API}/topics/{topic}/messages?limit=7") for message in page]
    assert [message["sequence_number"] for message in messages] == list(range(1, COUNT + 1))
    running, previous = INITIAL_RUNNING_HASH, 0
    for message in messages:
        time = nanoseconds(message["consensus_timestamp"])
        assert time > previous
        running = next_running_hash(
            running,
            message["payer_account_id"],
            message["topic_id"],
            time,
            message["sequence_number"],
            base64.b64decode(message["message"]),
        )
        assert base64.b64decode(message["running_hash"]) == running
        previous = time
    assert base64.b64decode(messages[4]["message"]) == b"message 4"
    backwards = [
        m for page in pages(rest, f"{API}/topics/{topic}/messages?limit=50&order=desc") for m in page
    ]
    assert backwards == messages[::-1]


@pytest.mark.parametrize(
    ("query", "sequences"),
    [
        ("limit=1000", range(1, 101)),
        ("", range(1, 26)),
        ("sequencenumber=gt:126", range(127, 131)),
        ("sequencenumber=gte:126&sequencenumber=lt:128", range(126, 128)),
        ("sequencenumber=lte:2&order=desc", [2, 1]),
        ("sequencenumber=5", [5]),
        ("sequencenumber=eq:5", [5]),
        ("sequencenumber=ne:1&limit=2", [2, 3]),
        ("sequencenumber=gt:130", []),
        ("sequencenumber=9&timestamp=gt:0", [9]),
        ("timestamp=lt:1.5", []),
    ],
)
def test_messages_are_filtered_by_sequence_number(rest, topic, query, sequences):
    messages = rest.get(f"{API}/topics/{topic}/messages?{query}").raise_for_status().json()["messages"]
    assert [message["sequence_number"] for message in messages] == list(sequences)


def test_messages_are_filtered_by_time(rest, topic):
    every = rest.get(f"{API}/topics/{topic}/messages?limit=100").json()["messages"]
    times = [message["consensus_timestamp"] for message in every]

    def found(*filters: str) -> list[int]:
        query = "&".join(f"timestamp={text}" for text in filters)
        messages = rest.get(f"{API}/topics/{topic}/messages?{query}").json()["messages"]
        return [message["sequence_number"] for message in messages]

    assert found(f"gte:{times[10]}", f"lt:{times[13]}") == [11, 12, 13]
    assert found(f"gt:{times[10]}", f"lte:{times[13]}") == [12, 13, 14]
    assert found(times[20]) == [21]
    one = rest.get(f"{API}/topics/{topic}/messages/21").raise_for_status().json()
    assert one == every[20]


def test_transactions_are_listed_newest_first_and_filtered(rest, topic):
    submits = f"{API}/transactions?transactiontype=CONSENSUSSUBMITMESSAGE&limit=40&account.id=0.0.2"
    entries = [entry for page in pages(rest, submits) for entry in page]
    assert len(entries) == COUNT
    assert {entry["entity_id"] for entry in entries} == {topic}
    times = [entry["consensus_timestamp"] for entry in entries]
    assert times == sorted(times, reverse=True)
    assert rest.get(f"{API}/transactions?result=fail").json()["transactions"] == []
    assert rest.get(f"{API}/transactions?account.id=0.0.999").json()["transactions"] == []
    balances = rest.get(f"{API}/balances").json()["balances"]
    assert sum(line["balance"] for line in balances) == 50_000_000_000 * 10**8
    (one,) = rest.get(f"{API}/balances?account.id=0.0.802").json()["balances"]
    assert one["balance"] == COUNT * 800_000 + 10_000_000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/topics/0.0.999999", 404),
        ("/topics/0.0.999999/messages", 404),
        ("/topics/{topic}/messages/131", 404),
        ("/topics/{topic}/messages/0", 404),
        ("/accounts/0.0.999999", 404),
        ("/transactions/0.0.2-1-1", 404),
        ("/nothing", 404),
        ("/topics/x", 400),
        ("/topics/1.0.5", 400),
        ("/topics/{topic}/messages/x", 400),
        ("/topics/{topic}/messages?limit=0", 400),
        ("/topics/{topic}/messages?limit=x", 400),
        ("/topics/{topic}/messages?order=up", 400),
        ("/topics/{topic}/messages?sequencenumber=above:1", 400),
        ("/topics/{topic}/messages?sequencenumber=gt:-1", 400),
        ("/topics/{topic}/messages?timestamp=gt:1.1234567890", 400),
        ("/topics/{topic}/messages?colour=red", 400),
        ("/transactions?result=maybe", 400),
        ("/transactions?account.id=gt:5", 400),
        ("/transactions/0.0.2", 400),
        ("/accounts/0.0.2?" + "&".join(["timestamp=gt:1"] * 101), 400),
    ],
)
def test_a_wrong_request_is_answered_in_the_mirrors_own_way(rest, topic, path, status):
    answer = rest.get(API + path.format(topic=topic))
    assert answer.status_code == status
    assert answer.json()["_status"]["messages"][0]["message"]


def test_the_network_describes_itself(rest, description):
    (node,) = rest.get(f"{API}/network/nodes?limit=100&order=desc").json()["nodes"]
    assert node["node_account_id"] == "0.0.3"
    assert f"127.0.0.1:{node['service_endpoints'][0]['port']}" == description.nodes["0.0.3"]
    rate = rest.get(f"{API}/network/exchangerate").json()["current_rate"]
    assert (rate["cent_equivalent"], rate["hbar_equivalent"]) == (10, 1)


def test_a_subscription_ends_where_it_is_told_to(description, topic):
    query = mirror_consensus_service_pb2.ConsensusTopicQuery(
        topicID=basic_types_pb2.TopicID(topicNum=int(topic.split(".")[2])), limit=3
    )
    query.consensusStartTime.seconds = 0
    subscribe = "/com.hedera.mirror.api.proto.ConsensusService/subscribeTopic"
    with grpc.insecure_channel(description.mirror_grpc) as channel:
        call = channel.unary_stream(subscribe)
        first = mirror_consensus_service_pb2.ConsensusTopicResponse
        got = [first.FromString(answer) for answer in call(query.SerializeToString(), timeout=10)]
        assert [answer.sequenceNumber for answer in got] == [1, 2, 3]
        assert [answer.message for answer in got] == [b"message 0", b"message 1", b"message 2"]
        query.limit = 0
        query.consensusEndTime.CopyFrom(got[2].consensusTimestamp)
        assert len(list(call(query.SerializeToString(), timeout=10))) == 2
        query.topicID.topicNum = 999_999
        with pytest.raises(grpc.RpcError) as missing:
            list(call(query.SerializeToString(), timeout=10))
        assert missing.value.code() == grpc.StatusCode.NOT_FOUND


TRANSACTION_METHODS = sorted(methods_taking("Transaction"))
QUERY_METHODS = sorted(methods_taking("Query"))
MIRROR_METHODS = [
    "/com.hedera.mirror.api.proto.ConsensusService/subscribeTopic",
    "/com.hedera.mirror.api.proto.NetworkService/getNodes",
]
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}


@pytest.fixture(scope="module")
def channels(description) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    with (
        grpc.insecure_channel(description.nodes["0.0.3"]) as node,
        grpc.insecure_channel(description.mirror_grpc) as mirror,
    ):
        yield node, mirror


def ask(channel: grpc.Channel, method: str, request: bytes) -> response_pb2.Response | None:
    """The answer to a query, or None where the method itself refuses it."""
    future = channel.unary_unary(method).future(request, timeout=10)
    if future.exception() is not None:
        assert future.code() in REFUSALS
        return None
    return response_pb2.Response.FromString(future.result())


@settings(max_examples=5, deadline=None)
@given(st.binary(max_size=200))
def test_every_hapi_method_answers_junk_with_a_status(channels, junk):
    for method in TRANSACTION_METHODS:
        answer = transaction_response_pb2.TransactionResponse.FromString(
            channels[0].unary_unary(method)(junk, timeout=10)
        )
        assert answer.nodeTransactionPrecheckCode != ResponseCode.OK
    for method in QUERY_METHODS:
        ask(channels[0], method, junk)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([field.name for field in query_pb2.Query.DESCRIPTOR.fields]),
    st.binary(max_size=100),
    st.integers(0, 4),
)
def test_every_query_answers_junk_with_a_status(channels, name, junk, response_type):
    query = query_pb2.Query()
    part = getattr(query, name)
    part.SetInParent()
    part.header.responseType = response_type
    part.header.payment.signedTransactionBytes = junk
    response = ask(channels[0], QUERY_METHODS[0], query.SerializeToString())
    assert (response is not None) == (name in QUERIES)
    if response is not None:
        header = getattr(response, response.WhichOneof("response")).header
        assert header.cost or header.nodeTransactionPrecheckCode != ResponseCode.OK or response_type == 2


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MIRROR_METHODS), st.binary(min_size=1, max_size=200))
def test_the_mirror_answers_junk_with_a_status(channels, method, junk):
    with pytest.raises(grpc.RpcError) as refused:
        list(channels[1].unary_stream(method)(junk, timeout=10))
    assert refused.value.code() in REFUSALS


def test_an_oversized_request_is_refused_before_it_is_read(channels):
    for method in (TRANSACTION_METHODS[0], QUERY_METHODS[0]):
        with pytest.raises(grpc.RpcError) as refused:
            channels[0].unary_unary(method)(bytes(100_000), timeout=10)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    answer = channels[0].unary_unary(TRANSACTION_METHODS[0])(bytes(7_000), timeout=10)
    code = transaction_response_pb2.TransactionResponse.FromString(answer).nodeTransactionPrecheckCode
    assert code == ResponseCode.TRANSACTION_OVERSIZE
    with pytest.raises(grpc.RpcError) as unknown:
        channels[0].unary_unary("/proto.CryptoService/nothing")(b"", timeout=10)
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED


words = st.one_of(
    st.sampled_from(
        [
            "topics",
            "messages",
            "transactions",
            "accounts",
            "allowances",
            "crypto",
            "schedules",
            "balances",
            "network",
            "nodes",
            "{topic}",
        ]
    ),
    st.sampled_from(["0.0.2", "2", "0.0.2-1-1", "9" * 30, "0.0." + "9" * 19, "-1", "..", "%00", "０", "²"]),
    st.text(max_size=8),
)
names = st.sampled_from(
    [
        "limit",
        "order",
        "timestamp",
        "sequencenumber",
        "account.id",
        "schedule.id",
        "transactiontype",
        "result",
        "nonce",
        "x",
    ]
)
values = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["gt", "lt", "gte", "lte", "eq", "ne", "x", ""]), words),
    st.integers(-5, 2**70).map(str),
    words,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(words, max_size=4), st.lists(st.tuples(names, values), max_size=4))
def test_random_rest_queries_never_break_the_mirror(rest, topic, path, parameters):
    parts = [quote(topic if word == "{topic}" else word, safe="", errors="replace") for word in path]
    query = "&".join(f"{quote(k)}={quote(v, errors='replace')}" for k, v in parameters)
    answer = rest.get(f"{API}/{'/'.join(parts)}?{query}", follow_redirects=True)
    assert answer.status_code in (200, 400, 404)
    answer.json()
