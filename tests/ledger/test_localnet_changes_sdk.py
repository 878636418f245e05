"""The real SDK changes accounts and topics, approves allowances and stores files."""

from collections.abc import Iterator

import httpx
import pytest

from ledger.hiero import (
    AccountAllowanceApproveTransaction,
    AccountCreateTransaction,
    AccountDeleteTransaction,
    AccountId,
    AccountUpdateTransaction,
    Client,
    FileAppendTransaction,
    FileContentsQuery,
    FileCreateTransaction,
    FileDeleteTransaction,
    FileInfoQuery,
    Hbar,
    Network,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicDeleteTransaction,
    TopicInfoQuery,
    TopicUpdateTransaction,
    TransferTransaction,
    _Node,
)
from ledger.localnet.description import Description
from tests.ledger.localnet_process import running_localnet

OPERATOR = AccountId(0, 0, 2)


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Iterator[Description]:
    with running_localnet(tmp_path_factory.mktemp("localnet")) as localnet:
        yield localnet.description


def client_of(description: Description, account: AccountId, key: PrivateKey) -> Client:
    node = _Node(AccountId(0, 0, 3), description.nodes["0.0.3"], None)
    client = Client(Network("localnet", nodes=[node], mirror_address=description.mirror_grpc))
    client.set_operator(account, key)
    return client


@pytest.fixture(scope="module")
def client(description) -> Iterator[Client]:
    client = client_of(description, OPERATOR, PrivateKey.from_string(description.operator_key))
    yield client
    client.close()


def create_account(client: Client, key: PrivateKey) -> AccountId:
    create = AccountCreateTransaction().set_key_without_alias(key.public_key()).set_initial_balance(Hbar(10))
    return create.execute(client).account_id


def test_an_allowance_is_shown_and_taken(client, description):
    keys = [PrivateKey.generate_ed25519(), PrivateKey.generate_ecdsa()]
    owner, spender = (create_account(client, key) for key in keys)
    own, other = client_of(description, owner, keys[0]), client_of(description, spender, keys[1])
    approve = AccountAllowanceApproveTransaction().approve_hbar_allowance(
        owner, spender, Hbar.from_tinybars(50)
    )
    assert approve.execute(own).status == ResponseCode.SUCCESS

    def take(tinybar: int) -> ResponseCode:
        transfer = TransferTransaction().add_approved_hbar_transfer(owner, -tinybar)
        return ResponseCode(transfer.add_hbar_transfer(spender, tinybar).execute(other).status)

    assert [take(40), take(40)] == [ResponseCode.SUCCESS, ResponseCode.AMOUNT_EXCEEDS_ALLOWANCE]
    url = f"{description.mirror_rest}/api/v1/accounts/{owner}/allowances/crypto"
    (shown,) = httpx.get(url).json()["allowances"]
    assert (shown["amount"], shown["amount_granted"]) == (10, 50)
    assert (shown["owner"], shown["spender"]) == (str(owner), str(spender))
    own.close()
    other.close()


def test_an_account_is_changed_and_deleted(client, description):
    key = PrivateKey.generate_ed25519()
    account = create_account(client, key)
    update = AccountUpdateTransaction().set_account_id(account).set_account_memo("moved")
    assert update.freeze_with(client).sign(key).execute(client).status == ResponseCode.SUCCESS
    url = f"{description.mirror_rest}/api/v1/accounts/{account}"
    assert httpx.get(url).json()["memo"] == "moved"
    delete = AccountDeleteTransaction().set_account_id(account).set_transfer_account_id(OPERATOR)
    assert delete.freeze_with(client).sign(key).execute(client).status == ResponseCode.SUCCESS
    shown = httpx.get(url).json()
    assert (shown["deleted"], shown["balance"]["balance"]) == (True, 0)


def test_a_topic_is_changed_and_deleted(client, description):
    admin = PrivateKey.generate_ecdsa()
    create = TopicCreateTransaction(memo="old", admin_key=admin.public_key())
    topic = create.freeze_with(client).sign(admin).execute(client).topic_id
    update = TopicUpdateTransaction(topic_id=topic, memo="new").freeze_with(client).sign(admin)
    assert update.execute(client).status == ResponseCode.SUCCESS
    assert TopicInfoQuery(topic).execute(client).memo == "new"
    delete = TopicDeleteTransaction(topic_id=topic).freeze_with(client).sign(admin)
    assert delete.execute(client).status == ResponseCode.SUCCESS
    assert httpx.get(f"{description.mirror_rest}/api/v1/topics/{topic}").json()["deleted"] is True


def test_a_file_is_stored_in_pieces_and_read_back(client):
    key = client.operator_private_key
    create = FileCreateTransaction().set_keys([key.public_key()]).set_contents(b"genesis ")
    file = create.set_file_memo("params").freeze_with(client).execute(client).file_id
    rest = bytes(i % 251 for i in range(3_000))
    append = FileAppendTransaction().set_file_id(file).set_contents(rest).set_chunk_size(1_024)
    assert append.execute(client).status == ResponseCode.SUCCESS
    assert FileContentsQuery(file).execute(client) == b"genesis " + rest
    info = FileInfoQuery(file).execute(client)
    assert (info.size, info.file_memo) == (3_008, "params")
    delete = FileDeleteTransaction().set_file_id(file).freeze_with(client)
    assert delete.execute(client).status == ResponseCode.SUCCESS
    assert FileInfoQuery(file).execute(client).is_deleted
