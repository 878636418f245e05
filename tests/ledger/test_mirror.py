import json
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from ledger import mirror as mirror_module
from ledger.mirror import MAX_PAGE, PAGE_ENTRIES, Mirror
from ledger.topic import LedgerError
from protocol.ids import AccountId, TopicId
from tests.ledger.chains import TOPIC, Chain

URL = "http://127.0.0.1:5551"
BACKENDS = ("asyncio", "trio")

Answer = Callable[[httpx.Request], httpx.Response]


def run(backend: str, answer: Answer, ask: Callable[[Mirror], Any], **settings: Any) -> Any:
    async def main() -> Any:
        async with Mirror(URL, transport=httpx.MockTransport(answer), **settings) as mirror:
            return await ask(mirror)

    return anyio.run(main, backend=backend)


async def everything(mirror: Mirror, after: int = 0) -> list[Any]:
    return [entry async for entry in mirror.messages(TOPIC, after)]


def paged(chain: Chain) -> Answer:
    """A mirror of one topic."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/api/v1/topics/{chain.topic}/messages"
        params = request.url.params
        after = int(params.get("sequencenumber", "gt:0").removeprefix("gt:"))
        limit = int(params["limit"])
        assert params["order"] == "asc"
        page = chain.entries[after : after + limit]
        more = after + limit < len(chain.entries)
        following = f"{request.url.path}?limit={limit}&order=asc&sequencenumber=gt:{after + limit}"
        return httpx.Response(200, json={"messages": page, "links": {"next": following if more else None}})

    return answer


def long_chain(length: int) -> Chain:
    chain = Chain()
    for number in range(length):
        chain.add(f"message {number}".encode())
    return chain


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", [0, 1, PAGE_ENTRIES, PAGE_ENTRIES + 1, 3 * PAGE_ENTRIES])
def test_all_pages_are_read_in_order(backend, length):
    chain = long_chain(length)
    assert run(backend, paged(chain), everything) == chain.entries


def test_reading_goes_on_after_a_sequence_number():
    chain = long_chain(PAGE_ENTRIES + 7)
    assert run("asyncio", paged(chain), partial(everything, after=5)) == chain.entries[5:]


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(mirror_module, "_FIRST_PAUSE", 0)


def failing(times: int, failure: httpx.Response | httpx.TransportError, then: Answer) -> Answer:
    left = iter(range(times))

    def answer(request: httpx.Request) -> httpx.Response:
        if next(left, None) is None:
            return then(request)
        if isinstance(failure, httpx.Response):
            return failure
        raise failure

    return answer


FAILURES = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.Response(503),
    httpx.Response(429),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_passing_failure_is_not_noticed(backend, failure, no_pause):
    chain = long_chain(3)
    assert run(backend, failing(2, failure, paged(chain)), everything, attempts=3) == chain.entries


@pytest.mark.parametrize("failure", FAILURES)
def test_a_lasting_failure_is_one_line_with_cause_and_remedy(failure, no_pause):
    with pytest.raises(LedgerError) as caught:
        run("asyncio", failing(3, failure, paged(long_chain(1))), everything, attempts=3)
    message = str(caught.value)
    assert message.startswith(f"cannot reach the mirror at {URL}: ")
    assert message.endswith("is it running? check [ledger] mirror")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(404, json={}), "knows nothing of topic 0.0.1001"),
        (httpx.Response(400, json={}), "answered 400"),
        (httpx.Response(200, text="<html>"), "no JSON object"),
        (httpx.Response(200, text="[" * 100_000), "no JSON object"),
        (httpx.Response(200, json=[]), "no JSON object"),
        (httpx.Response(200, json={"messages": 3}), "without a list of messages"),
        (httpx.Response(200, json={"messages": [3]}), "without a list of messages"),
        (httpx.Response(200, content=b" " * (MAX_PAGE + 1)), "over"),
    ],
)
def test_a_useless_answer_is_an_error_at_once(response, expected):
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return response

    with pytest.raises(LedgerError, match=expected) as caught:
        run("asyncio", answer, everything)
    assert len(asked) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "link", ["http://evil.example/api/v1/x", "//evil.example/", "/api/v1/../../x", "/other", 7]
)
def test_a_link_out_of_the_interface_is_not_followed(link):
    entries = long_chain(1).entries
    answer = failing(1, httpx.Response(200, json={"messages": entries, "links": {"next": link}}), pytest.fail)
    with pytest.raises(LedgerError, match="outside its interface"):
        run("asyncio", answer, everything)


def test_an_empty_page_ends_the_list_whatever_it_links_to():
    link = f"/api/v1/topics/{TOPIC}/messages?limit=100"
    answer = failing(1, httpx.Response(200, json={"messages": [], "links": {"next": link}}), pytest.fail)
    assert run("asyncio", answer, everything) == []


@pytest.mark.parametrize("url", ["127.0.0.1:5551", "ftp://127.0.0.1", "http://", "", "http://[::1"])
def test_a_bad_url_names_the_setting(url):
    with pytest.raises(LedgerError, match=r"\[ledger\] mirror"):
        Mirror(url)


@pytest.mark.parametrize("topic", ["0.0.1/../2", "0.0", "", "0.0.1?x=1"])
def test_an_id_that_is_none_is_never_asked_for(topic):
    with pytest.raises(LedgerError, match="is no Hedera id"):
        run("asyncio", pytest.fail, lambda mirror: mirror.topic_info(TopicId(topic)))


def answering(content: Any) -> Answer:
    return lambda request: httpx.Response(200, text=json.dumps(content))


def test_an_account_has_a_balance_and_a_key():
    content = {
        "account": "0.0.7",
        "balance": {"balance": 123, "timestamp": "1800000000.000000001", "tokens": []},
        "key": {"_type": "ECDSA_SECP256K1", "key": "02" * 33},
        "memo": "",
        "deleted": False,
        "evm_address": "0x00",
    }
    account = run("asyncio", answering(content), lambda mirror: mirror.account(AccountId("0.0.7")))
    assert account.balance.balance == 123
    assert account.key is not None
    assert (account.key.type, account.key.key) == ("ECDSA_SECP256K1", "02" * 33)


def test_an_account_is_asked_for_without_its_transactions():
    """Public mirrors fail over those of a busy account."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params.get_list("transactions") == ["false"]
        return httpx.Response(200, json={"account": "0.0.98", "balance": {"balance": 1}})

    account = run("asyncio", answer, lambda mirror: mirror.account(AccountId("0.0.98")))
    assert account.balance.balance == 1


@pytest.mark.parametrize("balance", [1.5, "123", None, {"balance": "123"}, {"balance": -1}])
def test_money_that_is_no_integer_is_refused(balance):
    content = {"account": "0.0.7", "balance": balance, "key": None}
    with pytest.raises(LedgerError, match="malformed account"):
        run("asyncio", answering(content), lambda mirror: mirror.account(AccountId("0.0.7")))


TRANSACTION = {
    "transaction_id": "0.0.7-1800000000-000000001",
    "consensus_timestamp": "1800000001.000000001",
    "result": "SUCCESS",
    "name": "CRYPTOTRANSFER",
    "memo_base64": "",
    "charged_tx_fee": 10,
    "scheduled": False,
    "transfers": [
        {"account": "0.0.7", "amount": -5, "is_approval": False},
        {"account": "0.0.8", "amount": 5},
    ],
    "node": "0.0.3",
}


def test_transactions_come_as_the_mirror_returned_them():
    content = {"transactions": [TRANSACTION], "links": {"next": None}}
    found = run("asyncio", answering(content), lambda mirror: mirror.transactions(AccountId("0.0.7")))
    assert found == (TRANSACTION,)
    found = run(
        "asyncio", answering(content), lambda mirror: mirror.transaction("0.0.7-1800000000-000000001")
    )
    assert found == (TRANSACTION,)


def test_a_part_of_the_transactions_is_not_taken_for_the_whole():
    entries = [TRANSACTION | {"consensus_timestamp": f"180000000{n}.000000001"} for n in range(3)]
    content = {"transactions": entries, "links": {"next": None}}
    with pytest.raises(LedgerError, match="more than 2 transactions"):
        run("asyncio", answering(content), lambda mirror: mirror.transactions(AccountId("0.0.7"), limit=2))


def test_an_unknown_transaction_is_no_error():
    found = run(
        "asyncio",
        lambda _: httpx.Response(404),
        lambda mirror: mirror.transaction("0.0.7-1800000000-000000001"),
    )
    assert found == ()


def test_nodes_and_topic():
    node = {"node_account_id": "0.0.3", "service_endpoints": [{"ip_address_v4": "127.0.0.1", "port": 50211}]}
    found = run(
        "asyncio", answering({"nodes": [node], "links": {"next": None}}), lambda mirror: mirror.nodes()
    )
    assert [(n.node_account_id, n.service_endpoints[0].port) for n in found] == [("0.0.3", 50211)]
    topic = {"topic_id": TOPIC, "memo": "a run", "submit_key": {"_type": "ProtobufEncoded", "key": "0a"}}
    info = run("asyncio", answering(topic), lambda mirror: mirror.topic_info(TOPIC))
    assert info.memo == "a run"
    assert info.submit_key is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mirror_that_trickles_is_given_up(backend, monkeypatch):
    monkeypatch.setattr(mirror_module, "_TRICKLE", 0)

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await anyio.lowlevel.checkpoint()
                yield b" "

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Trickle())

    with pytest.raises(LedgerError, match="TimeoutError; is it running"):
        run(backend, answer, everything, attempts=1)
