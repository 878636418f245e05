"""Transactions for the localnet, built and signed without an SDK, so that tests reach every field."""

from ledger.hiero import PrivateKey, basic_types_pb2, transaction_contents_pb2, transaction_pb2
from ledger.localnet.fees import FeeSchedule, default_prices
from ledger.localnet.precheck import precheck
from ledger.localnet.state import NODE, OPERATOR, SECOND_NS, Ledger, genesis
from ledger.localnet.transactions import apply

KEY = PrivateKey.from_bytes_ed25519(bytes(range(32)))
NOW = 1_800_000_000 * SECOND_NS


def new_ledger() -> Ledger:
    return genesis(KEY.public_key().to_bytes_raw(), NOW - 1, FeeSchedule.parse(default_prices()))


def body_at(start: int, payer: int = OPERATOR, **fields) -> transaction_pb2.TransactionBody:
    body = transaction_pb2.TransactionBody(transactionFee=10**9, **fields)
    body.transactionID.accountID.accountNum = payer
    body.transactionID.transactionValidStart.seconds = start // SECOND_NS
    body.transactionID.transactionValidStart.nanos = start % SECOND_NS
    body.nodeAccountID.accountNum = NODE
    body.transactionValidDuration.seconds = 120
    return body


def signed(body: transaction_pb2.TransactionBody | bytes, *keys: PrivateKey) -> bytes:
    body_bytes = body if isinstance(body, bytes) else body.SerializeToString()
    pairs = []
    for key in keys or (KEY,):
        pair = basic_types_pb2.SignaturePair(pubKeyPrefix=key.public_key().to_bytes_raw())
        setattr(pair, "ed25519" if key.is_ed25519() else "ECDSA_secp256k1", key.sign(body_bytes))
        pairs.append(pair)
    content = transaction_contents_pb2.SignedTransaction(
        bodyBytes=body_bytes, sigMap=basic_types_pb2.SignatureMap(sigPair=pairs)
    )
    return transaction_pb2.Transaction(signedTransactionBytes=content.SerializeToString()).SerializeToString()


def run(ledger: Ledger, raw: bytes, now: int = NOW):
    return apply(ledger, precheck(ledger, raw, NODE, now), max(now, ledger.time + 1))


def topic_body(start: int = NOW, **fields) -> transaction_pb2.TransactionBody:
    body = body_at(start)
    body.consensusCreateTopic.memo = "t"
    body.consensusCreateTopic.autoRenewPeriod.seconds = 7_776_000
    for name, key in fields.items():
        getattr(body.consensusCreateTopic, name).CopyFrom(key)
    return body


def message_body(start: int, topic: int, message: bytes) -> transaction_pb2.TransactionBody:
    body = body_at(start)
    body.consensusSubmitMessage.topicID.topicNum = topic
    body.consensusSubmitMessage.message = message
    return body


def account_body(start: int, key: basic_types_pb2.Key, balance: int = 0) -> transaction_pb2.TransactionBody:
    body = body_at(start)
    body.cryptoCreateAccount.key.CopyFrom(key)
    body.cryptoCreateAccount.initialBalance = balance
    body.cryptoCreateAccount.autoRenewPeriod.seconds = 7_776_000
    return body


def transfer_body(start: int, *amounts: tuple[int, int], payer: int = OPERATOR):
    body = body_at(start, payer)
    for num, amount in amounts:
        body.cryptoTransfer.transfers.accountAmounts.add(amount=amount).accountID.accountNum = num
    return body


def balances(ledger: Ledger) -> dict[int, int]:
    return {num: account.balance for num, account in ledger.accounts.items()}
