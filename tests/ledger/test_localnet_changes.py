"""Accounts, topics and files that change and go, and allowances."""

import pytest

from ledger.hiero import PrivateKey, ResponseCode, basic_types_pb2, query_pb2, response_pb2
from ledger.localnet.errors import Refused
from ledger.localnet.queries import QUERIES
from ledger.localnet.state import NODE, OPERATOR, SECOND_NS, SUPPLY, Ledger
from tests.ledger.localnet_bodies import (
    KEY,
    NOW,
    account_body,
    balances,
    body_at,
    message_body,
    new_ledger,
    run,
    signed,
    topic_body,
    transfer_body,
)

OWN, OTHER = PrivateKey.from_bytes_ed25519(b"\1" * 32), PrivateKey.from_bytes_ecdsa(b"\2" * 32)
OWNER, SPENDER = 1001, 1002
RC = ResponseCode


def proto(key: PrivateKey) -> basic_types_pb2.Key:
    kind = "ed25519" if key.is_ed25519() else "ECDSA_secp256k1"
    return basic_types_pb2.Key(**{kind: key.public_key().to_bytes_raw()})


@pytest.fixture
def ledger() -> Ledger:
    """0.0.1001 and 0.0.1002 with 10 hbar each."""
    ledger = new_ledger()
    for i, key in enumerate((OWN, OTHER)):
        run(ledger, signed(account_body(NOW + i, proto(key), 10**9)))
    return ledger


def outcome(ledger: Ledger, body, *keys: PrivateKey) -> ResponseCode:
    return ResponseCode(run(ledger, signed(body, *keys)).record.receipt.status)


def approval(start: int, amount: int, owner: int = OWNER, spender: int = SPENDER, payer: int = OWNER):
    body = body_at(start, payer)
    item = body.cryptoApproveAllowance.cryptoAllowances.add(amount=amount)
    item.spender.accountNum = spender
    if owner:
        item.owner.accountNum = owner
    return body


def take(start: int, amount: int, payer: int = SPENDER):
    body = transfer_body(start, (OWNER, -amount), (SPENDER, amount), payer=payer)
    body.cryptoTransfer.transfers.accountAmounts[0].is_approval = True
    return body


def test_an_allowance_is_taken_without_its_owner_until_it_is_used_up(ledger):
    assert outcome(ledger, take(NOW + 10, 1), OTHER) == RC.SPENDER_DOES_NOT_HAVE_ALLOWANCE
    assert outcome(ledger, approval(NOW + 11, 50), OWN) == RC.SUCCESS
    before = balances(ledger)
    assert outcome(ledger, take(NOW + 12, 40), OTHER) == RC.SUCCESS
    assert balances(ledger)[OWNER] == before[OWNER] - 40
    assert outcome(ledger, take(NOW + 13, 11), OTHER) == RC.AMOUNT_EXCEEDS_ALLOWANCE
    assert (ledger.allowances[OWNER, SPENDER].left, ledger.allowances[OWNER, SPENDER].granted) == (10, 50)
    # Only the payer is the spender; the operator has no allowance, whoever else signs.
    stranger = take(NOW + 14, 5, payer=OPERATOR)
    assert outcome(ledger, stranger, KEY, OTHER) == RC.SPENDER_DOES_NOT_HAVE_ALLOWANCE
    assert outcome(ledger, take(NOW + 15, 10), OTHER) == RC.SUCCESS
    assert outcome(ledger, take(NOW + 16, 1), OTHER) == RC.SPENDER_DOES_NOT_HAVE_ALLOWANCE


def test_an_allowance_is_given_and_taken_back_by_its_owner_alone(ledger):
    assert outcome(ledger, approval(NOW + 10, 50, payer=SPENDER), OTHER) == RC.INVALID_SIGNATURE
    assert outcome(ledger, approval(NOW + 11, 50, owner=0), OWN) == RC.SUCCESS
    assert ledger.allowances[OWNER, SPENDER].left == 50
    assert outcome(ledger, approval(NOW + 12, 0), OWN) == RC.SUCCESS
    assert not ledger.allowances
    refusals = [
        outcome(ledger, approval(NOW + 13, -1), OWN),
        outcome(ledger, approval(NOW + 14, 5, spender=OWNER), OWN),
        outcome(ledger, approval(NOW + 15, 5, spender=77), OWN),
        outcome(ledger, approval(NOW + 16, 5, owner=77), OWN),
    ]
    assert refusals == [
        RC.NEGATIVE_ALLOWANCE_AMOUNT,
        RC.SPENDER_ACCOUNT_SAME_AS_OWNER,
        RC.INVALID_ALLOWANCE_SPENDER_ID,
        RC.INVALID_ALLOWANCE_OWNER_ID,
    ]


def test_an_approved_transfer_still_needs_the_owner_s_money(ledger):
    outcome(ledger, approval(NOW + 10, 10**12), OWN)
    assert outcome(ledger, take(NOW + 11, 10**11), OTHER) == RC.INSUFFICIENT_ACCOUNT_BALANCE
    assert ledger.allowances[OWNER, SPENDER].left == 10**12


def test_an_account_that_signs_for_what_it_receives(ledger):
    body = body_at(NOW + 10, OWNER)
    body.cryptoUpdateAccount.accountIDToUpdate.accountNum = OWNER
    body.cryptoUpdateAccount.receiverSigRequiredWrapper.value = True
    body.cryptoUpdateAccount.memo.value = "careful"
    assert outcome(ledger, body, OWN) == RC.SUCCESS
    assert ledger.accounts[OWNER].memo == "careful"
    gift = [(OPERATOR, -5), (OWNER, 5)]
    assert outcome(ledger, transfer_body(NOW + 11, *gift)) == RC.INVALID_SIGNATURE
    assert outcome(ledger, transfer_body(NOW + 12, *gift), KEY, OWN) == RC.SUCCESS


def test_a_new_key_is_set_with_the_old_one_and_itself(ledger):
    def rekey(start: int):
        body = body_at(start)
        body.cryptoUpdateAccount.accountIDToUpdate.accountNum = OWNER
        body.cryptoUpdateAccount.key.CopyFrom(proto(OTHER))
        return body

    assert outcome(ledger, rekey(NOW + 10), KEY, OWN) == RC.INVALID_SIGNATURE
    assert outcome(ledger, rekey(NOW + 11), KEY, OTHER) == RC.INVALID_SIGNATURE
    assert outcome(ledger, rekey(NOW + 12), KEY, OWN, OTHER) == RC.SUCCESS
    with pytest.raises(Refused, match="INVALID_SIGNATURE"):
        run(ledger, signed(transfer_body(NOW + 13, (OWNER, -1), (NODE, 1), payer=OWNER), OWN))


def test_a_deleted_account_leaves_its_money_to_another(ledger):
    def deletion(start: int, num: int, heir: int, payer: int = OPERATOR):
        body = body_at(start, payer)
        body.cryptoDelete.deleteAccountID.accountNum = num
        body.cryptoDelete.transferAccountID.accountNum = heir
        return body

    before = balances(ledger)
    assert outcome(ledger, deletion(NOW + 10, OWNER, SPENDER)) == RC.INVALID_SIGNATURE
    same = deletion(NOW + 11, OWNER, OWNER)
    assert outcome(ledger, same, KEY, OWN) == RC.TRANSFER_ACCOUNT_SAME_AS_DELETE_ACCOUNT
    assert outcome(ledger, deletion(NOW + 12, NODE, OWNER)) == RC.ENTITY_NOT_ALLOWED_TO_DELETE
    assert outcome(ledger, deletion(NOW + 13, OWNER, SPENDER), KEY, OWN) == RC.SUCCESS
    assert balances(ledger)[SPENDER] == before[SPENDER] + before[OWNER]
    assert sum(balances(ledger).values()) == SUPPLY
    assert outcome(ledger, transfer_body(NOW + 14, (OPERATOR, -1), (OWNER, 1))) == RC.ACCOUNT_DELETED
    with pytest.raises(Refused, match="PAYER_ACCOUNT_DELETED"):
        run(ledger, signed(transfer_body(NOW + 15, (OWNER, 0), payer=OWNER), OWN))


def test_a_topic_changes_and_goes_by_its_admin_key(ledger):
    fixed = run(ledger, signed(topic_body(NOW + 10))).entity
    topic = run(ledger, signed(topic_body(NOW + 11, adminKey=proto(OWN)), KEY, OWN)).entity

    def update(start: int, num: int, **keys):
        body = body_at(start)
        body.consensusUpdateTopic.topicID.topicNum = num
        body.consensusUpdateTopic.memo.value = "new"
        for name, key in keys.items():
            getattr(body.consensusUpdateTopic, name).CopyFrom(key)
        return body

    def deletion(start: int, num: int):
        body = body_at(start)
        body.consensusDeleteTopic.topicID.topicNum = num
        return body

    assert outcome(ledger, update(NOW + 12, fixed), KEY, OWN) == RC.UNAUTHORIZED
    assert outcome(ledger, deletion(NOW + 13, fixed), KEY, OWN) == RC.UNAUTHORIZED
    assert outcome(ledger, update(NOW + 14, topic)) == RC.INVALID_SIGNATURE
    closed = update(NOW + 15, topic, submitKey=proto(OTHER))
    assert outcome(ledger, closed, KEY, OWN) == RC.SUCCESS
    assert ledger.topics[topic].memo == "new"
    assert outcome(ledger, message_body(NOW + 16, topic, b"x")) == RC.INVALID_SIGNATURE
    nobody = basic_types_pb2.Key()
    nobody.keyList.SetInParent()
    assert outcome(ledger, update(NOW + 17, topic, submitKey=nobody), KEY, OWN) == RC.SUCCESS
    assert outcome(ledger, message_body(NOW + 18, topic, b"x")) == RC.SUCCESS
    assert outcome(ledger, deletion(NOW + 19, topic), KEY, OWN) == RC.SUCCESS
    assert outcome(ledger, message_body(NOW + 20, topic, b"y")) == RC.INVALID_TOPIC_ID
    assert [message.body for message in ledger.messages[topic]] == [b"x"]


def append_body(start: int, num: int, contents: bytes):
    body = body_at(start)
    body.fileAppend.fileID.fileNum = num
    body.fileAppend.contents = contents
    return body


def contents(ledger: Ledger, num: int) -> bytes:
    query, response = query_pb2.Query(), response_pb2.Response()
    query.fileGetContents.fileID.fileNum = num
    QUERIES["fileGetContents"].answer(ledger, query, response)
    return response.fileGetContents.fileContents.contents


def test_a_file_grows_by_all_of_its_keys_and_goes_by_any(ledger, monkeypatch):
    create = body_at(NOW + 10)
    create.fileCreate.contents = b"one "
    create.fileCreate.keys.keys.extend([proto(OWN), proto(OTHER)])
    assert outcome(ledger, create, KEY, OWN) == RC.INVALID_SIGNATURE
    create.transactionID.transactionValidStart.nanos += 1
    num = run(ledger, signed(create, KEY, OWN, OTHER)).record.receipt.fileID.fileNum
    assert outcome(ledger, append_body(NOW + 12, num, b"two"), KEY, OWN) == RC.INVALID_SIGNATURE
    assert outcome(ledger, append_body(NOW + 13, num, b"two"), KEY, OWN, OTHER) == RC.SUCCESS
    assert contents(ledger, num) == b"one two"
    assert outcome(ledger, append_body(NOW + 14, num, b""), KEY, OWN, OTHER) == RC.FILE_CONTENT_EMPTY
    assert outcome(ledger, append_body(NOW + 15, 9_999, b"x")) == RC.INVALID_FILE_ID
    monkeypatch.setattr("ledger.localnet.stored_files.MAX_FILE_BYTES", 8)
    too_much = append_body(NOW + 16, num, b"xx")
    assert outcome(ledger, too_much, KEY, OWN, OTHER) == RC.MAX_FILE_SIZE_EXCEEDED
    deletion = body_at(NOW + 17)
    deletion.fileDelete.fileID.fileNum = num
    assert outcome(ledger, deletion) == RC.INVALID_SIGNATURE
    deletion.transactionID.transactionValidStart.nanos += 1
    assert outcome(ledger, deletion, KEY, OTHER) == RC.SUCCESS
    assert outcome(ledger, append_body(NOW + 19, num, b"x"), KEY, OWN, OTHER) == RC.FILE_DELETED
    with pytest.raises(Refused, match="FILE_DELETED"):
        contents(ledger, num)


def test_a_file_without_keys_stays_as_it_is(ledger):
    create = body_at(NOW + 10)
    create.fileCreate.contents = b"fixed"
    create.fileCreate.expirationTime.seconds = NOW // SECOND_NS + 100
    num = run(ledger, signed(create)).record.receipt.fileID.fileNum
    assert outcome(ledger, append_body(NOW + 11, num, b"x")) == RC.UNAUTHORIZED
    assert contents(ledger, num) == b"fixed"
