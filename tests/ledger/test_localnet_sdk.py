"""The real SDK against a real localnet process: what a client of a public network does, works here."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import httpx
import pytest

from ledger.hiero import (
    AccountCreateTransaction,
    AccountId,
    AccountInfoQuery,
    Client,
    CryptoGetAccountBalanceQuery,
    Hbar,
    KeyList,
    Network,
    PrecheckError,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicInfoQuery,
    TopicMessageQuery,
    TopicMessageSubmitTransaction,
    TransactionGetReceiptQuery,
    TransactionId,
    TransactionRecordQuery,
    TransferTransaction,
    _Node,
    basic_types_pb2,
    mirror_network_service_pb2,
)
from ledger.localnet.description import Description
from tests.ledger.localnet_process import running_localnet

OPERATOR = AccountId(0, 0, 2)


def client_of(description: Description) -> Client:
    Network.MIRROR_NODE_URLS["localnet"] = description.mirror_rest
    node = _Node(AccountId(0, 0, 3), description.nodes["0.0.3"], None)
    client = Client(Network("localnet", nodes=[node], mirror_address=description.mirror_grpc))
    client.set_operator(
        AccountId.from_string(description.operator_account),
        PrivateKey.from_string(description.operator_key),
    )
    return client


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Iterator[Description]:
    with running_localnet(tmp_path_factory.mktemp("localnet")) as localnet:
        yield localnet.description


@pytest.fixture(scope="module")
def client(description) -> Iterator[Client]:
    client = client_of(description)
    yield client
    client.close()


@pytest.fixture(scope="module")
def submit_key() -> PrivateKey:
    return PrivateKey.generate_ed25519()


@pytest.fixture(scope="module")
def topic(client, submit_key):
    admin = PrivateKey.generate_ecdsa()
    receipt = (
        TopicCreateTransaction(
            memo="rounds", admin_key=admin.public_key(), submit_key=submit_key.public_key()
        )
        .freeze_with(client)
        .sign(admin)
        .execute(client)
    )
    assert receipt.status == ResponseCode.SUCCESS
    return receipt.topic_id


def create_account(client, key, hbar: int = 10, memo: str = "") -> AccountId:
    receipt = (
        AccountCreateTransaction()
        .set_key_without_alias(key)
        .set_initial_balance(Hbar(hbar))
        .set_account_memo(memo)
        .execute(client)
    )
    assert receipt.status == ResponseCode.SUCCESS
    return receipt.account_id


def balance(client, account) -> int:
    return CryptoGetAccountBalanceQuery(account).execute(client).hbars.to_tinybars()


def transfer(source, target, tinybar: int) -> TransferTransaction:
    return TransferTransaction().add_hbar_transfer(source, -tinybar).add_hbar_transfer(target, tinybar)


@pytest.mark.parametrize("generate", [PrivateKey.generate_ed25519, PrivateKey.generate_ecdsa])
def test_an_account_pays_with_its_own_key(client, description, generate):
    key = generate()
    account = create_account(client, key.public_key(), 10, memo="a peer")
    own = client_of(description)
    own.set_operator(account, key)
    # An ECDSA signature has a high s half of the time: several, so that both halves are met.
    for _ in range(4):
        assert transfer(account, OPERATOR, 1_000).execute(own).status == ResponseCode.SUCCESS
    own.close()
    assert balance(client, account) == 10 * 100_000_000 - 4 * (1_000 + 100_000)
    info = AccountInfoQuery(account).execute(client)
    assert info.key.to_bytes_raw() == key.public_key().to_bytes_raw()
    assert info.account_memo == "a peer"
    assert info.balance.to_tinybars() == balance(client, account)


def test_a_submission_needs_the_submit_key(client, topic, submit_key):
    signed = TopicMessageSubmitTransaction(topic, "signed").freeze_with(client).sign(submit_key)
    assert signed.execute(client).status == ResponseCode.SUCCESS
    before = TopicInfoQuery(topic).execute(client)
    unsigned = TopicMessageSubmitTransaction(topic, "unsigned").execute(client)
    assert unsigned.status == ResponseCode.INVALID_SIGNATURE
    forged = TopicMessageSubmitTransaction(topic, "x").freeze_with(client).sign(PrivateKey.generate_ed25519())
    assert forged.execute(client).status == ResponseCode.INVALID_SIGNATURE
    after = TopicInfoQuery(topic).execute(client)
    assert (after.sequence_number, after.running_hash) == (before.sequence_number, before.running_hash)
    assert after.memo == "rounds"


def test_a_long_message_arrives_in_chunks_on_rest_and_grpc(client, description, topic, submit_key):
    body = bytes(i % 251 for i in range(3_000))
    message = TopicMessageSubmitTransaction(topic, body).freeze_with(client).sign(submit_key)
    receipts = message.execute_all(client)
    assert [receipt.status for receipt in receipts] == [ResponseCode.SUCCESS] * 3

    url = f"{description.mirror_rest}/api/v1/topics/{topic}/messages?order=desc&limit=3"
    chunks = httpx.get(url).json()["messages"][::-1]
    assert [(c["chunk_info"]["number"], c["chunk_info"]["total"]) for c in chunks] == [(1, 3), (2, 3), (3, 3)]
    assert len({c["chunk_info"]["initial_transaction_id"]["transaction_valid_start"] for c in chunks}) == 1

    arrived, bodies = threading.Event(), []

    def on_message(message):
        bodies.append(message.contents)
        if message.contents == body:
            arrived.set()

    start = datetime.fromtimestamp(0, UTC)
    subscription = TopicMessageQuery(topic_id=topic, start_time=start, chunking_enabled=True).subscribe(
        client, on_message
    )
    assert arrived.wait(20)
    live = TopicMessageSubmitTransaction(topic, "live").freeze_with(client).sign(submit_key)
    arrived.clear()
    body = b"live"
    assert live.execute(client).status == ResponseCode.SUCCESS
    assert arrived.wait(20)
    subscription.cancel()
    assert bodies[-1] == b"live"


def test_receipt_record_and_mirror_agree(client, description):
    account = create_account(client, PrivateKey.generate_ed25519().public_key(), 1)
    payout = transfer(OPERATOR, account, 700).set_transaction_memo("payout 1")
    transaction_id = payout.execute(client, wait_for_receipt=False).transaction_id
    receipt = TransactionGetReceiptQuery(transaction_id).execute(client)
    record = TransactionRecordQuery(transaction_id).execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    assert record.transaction_memo == "payout 1"
    payer, rest = str(transaction_id).split("@")
    mirror_id = f"{payer}-{rest.replace('.', '-')}"
    seconds, nanos = mirror_id.split("-")[1:]
    url = f"{description.mirror_rest}/api/v1/transactions/{payer}-{seconds}-{nanos.zfill(9)}"
    shown = httpx.get(url).json()["transactions"][0]
    assert shown["result"] == "SUCCESS"
    assert shown["charged_tx_fee"] == record.transaction_fee == 100_000
    assert {t["account"]: t["amount"] for t in shown["transfers"]} == {
        "0.0.2": -700 - 100_000,
        str(account): 700,
        "0.0.802": 100_000,
    }
    shown_account = httpx.get(f"{description.mirror_rest}/api/v1/accounts/{account}").json()
    assert shown_account["balance"]["balance"] == balance(client, account) == 100_000_700
    assert shown_account["transactions"][0]["transaction_id"] == shown["transaction_id"]


def test_a_duplicate_is_refused(client):
    once = transfer(OPERATOR, AccountId(0, 0, 3), 1).freeze_with(client)
    assert once.execute(client).status == ResponseCode.SUCCESS
    with pytest.raises(PrecheckError) as refused:
        once.execute(client)
    assert refused.value.status == ResponseCode.DUPLICATE_TRANSACTION


def test_an_expired_transaction_is_refused(client):
    late = TransactionId.generate(OPERATOR)
    late.valid_start.seconds -= 300
    with pytest.raises(PrecheckError) as refused:
        transfer(OPERATOR, AccountId(0, 0, 3), 1).set_transaction_id(late).execute(client)
    assert refused.value.status == ResponseCode.TRANSACTION_EXPIRED


def test_a_payer_that_did_not_sign_is_refused(client, description):
    account = create_account(client, PrivateKey.generate_ed25519().public_key())
    thief = client_of(description)
    thief.set_operator(account, PrivateKey.generate_ed25519())
    with pytest.raises(PrecheckError) as refused:
        transfer(account, OPERATOR, 1).execute(thief)
    assert refused.value.status == ResponseCode.INVALID_SIGNATURE
    thief.close()


def test_money_of_others_needs_their_signature(client):
    account = create_account(client, PrivateKey.generate_ecdsa().public_key())
    before = balance(client, account)
    stolen = transfer(account, OPERATOR, 5).freeze_with(client).sign(PrivateKey.generate_ecdsa())
    assert stolen.execute(client).status == ResponseCode.INVALID_SIGNATURE
    assert balance(client, account) == before


def test_a_threshold_account_pays_with_m_signatures(client):
    keys = [PrivateKey.generate_ed25519(), PrivateKey.generate_ecdsa(), PrivateKey.generate_ed25519()]
    treasury = create_account(client, KeyList([key.public_key() for key in keys], threshold=2), 5)

    def pay(signers) -> ResponseCode:
        payout = transfer(treasury, OPERATOR, 100).freeze_with(client)
        for key in signers:
            payout.sign(key)
        return ResponseCode(payout.execute(client).status)

    assert pay(keys[:1]) == ResponseCode.INVALID_SIGNATURE
    assert pay(keys[:2]) == ResponseCode.SUCCESS
    assert pay([keys[1], keys[2]]) == ResponseCode.SUCCESS
    assert balance(client, treasury) == 5 * 100_000_000 - 200


def test_a_fee_offered_too_low_is_refused(client):
    payment = transfer(OPERATOR, AccountId(0, 0, 3), 1)
    payment.transaction_fee = 99_999
    with pytest.raises(PrecheckError) as refused:
        payment.execute(client)
    assert refused.value.status == ResponseCode.INSUFFICIENT_TX_FEE


def test_a_payer_without_money_is_refused(client, description):
    key = PrivateKey.generate_ed25519()
    account = create_account(client, key.public_key(), 0)
    poor = client_of(description)
    poor.set_operator(account, key)
    with pytest.raises(PrecheckError) as refused:
        transfer(account, OPERATOR, 1).execute(poor)
    assert refused.value.status == ResponseCode.INSUFFICIENT_PAYER_BALANCE
    # With money for the fee alone, the fee is charged and the transfer fails.
    assert transfer(OPERATOR, account, 150_000).execute(client).status == ResponseCode.SUCCESS
    receipt = transfer(account, OPERATOR, 60_000).execute(poor)
    assert receipt.status == ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE
    assert balance(client, account) == 50_000
    poor.close()


def test_a_topic_with_an_admin_key_needs_its_signature(client):
    admin = PrivateKey.generate_ed25519().public_key()
    assert TopicCreateTransaction(admin_key=admin).execute(client).status == ResponseCode.INVALID_SIGNATURE


def test_the_mirror_names_the_node(client, description):
    fresh = Network("localnet")  # asks /network/nodes
    assert [str(node._address) for node in fresh.nodes] == [description.nodes["0.0.3"]]
    query = mirror_network_service_pb2.AddressBookQuery(file_id=basic_types_pb2.FileID(fileNum=102))
    with grpc.insecure_channel(description.mirror_grpc) as channel:
        answers = channel.unary_stream("/com.hedera.mirror.api.proto.NetworkService/getNodes")(
            query.SerializeToString(), timeout=10
        )
        (node,) = [basic_types_pb2.NodeAddress.FromString(answer) for answer in answers]
    assert node.nodeAccountId.accountNum == 3
    assert f"127.0.0.1:{node.serviceEndpoint[0].port}" == description.nodes["0.0.3"]
