"""A transaction as it arrives: bytes on the wire, parsed once, bounded before they are parsed."""

import hashlib
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ledger.hiero import ResponseCode, basic_types_pb2, transaction_contents_pb2, transaction_pb2
from ledger.localnet.errors import Refused
from ledger.localnet.keys import Signatures, Signed
from ledger.localnet.state import SECOND_NS, TransactionKey, entity_num

MAX_TRANSACTION_BYTES = 6_144


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed transaction: its body, who signed it, and the names it goes by."""

    raw: bytes
    """The serialized Transaction, as it goes into the journal; the body's bytes of a scheduled one."""
    body: transaction_pb2.TransactionBody
    kind: str
    """The name of the body's data field, e.g. `cryptoTransfer`; empty when there is none."""
    signatures: Signed
    hash: bytes
    """SHA-384 of what was signed and its signatures, 48 bytes."""
    payer: int
    """The number of the account that pays."""
    key: TransactionKey
    valid_start: int
    """Nanoseconds since the epoch."""


def parse_envelope(raw: bytes) -> Envelope:
    """The transaction that bytes stand for.

    Raises Refused: TRANSACTION_OVERSIZE, INVALID_TRANSACTION (the envelope), INVALID_TRANSACTION_BODY (its
    body), INVALID_TRANSACTION_ID, INVALID_TRANSACTION_START, TRANSACTION_ID_FIELD_NOT_ALLOWED.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise Refused(ResponseCode.TRANSACTION_OVERSIZE)
    body_bytes, signature_map, hashed = _signed_parts(raw)
    if not body_bytes:
        raise Refused(ResponseCode.INVALID_TRANSACTION_BODY)
    try:
        body = transaction_pb2.TransactionBody.FromString(body_bytes)
    except DecodeError:
        raise Refused(ResponseCode.INVALID_TRANSACTION_BODY) from None
    key = transaction_key(body.transactionID)
    return Envelope(
        raw=raw,
        body=body,
        kind=body.WhichOneof("data") or "",
        signatures=Signatures(body_bytes, signature_map.sigPair),
        hash=hashlib.sha384(hashed).digest(),
        payer=key[0],
        key=key,
        valid_start=key[1] * SECOND_NS + key[2],
    )


def transaction_key(transaction_id: basic_types_pb2.TransactionID) -> TransactionKey:
    """What makes the id of a transaction that a client sends unique.

    Raises Refused: INVALID_TRANSACTION_ID, INVALID_TRANSACTION_START, TRANSACTION_ID_FIELD_NOT_ALLOWED.
    """
    if transaction_id.scheduled or transaction_id.nonce:
        raise Refused(ResponseCode.TRANSACTION_ID_FIELD_NOT_ALLOWED)
    return any_transaction_key(transaction_id)


def any_transaction_key(transaction_id: basic_types_pb2.TransactionID) -> TransactionKey:
    """What makes the id of a transaction, scheduled or not, unique.

    Raises Refused: INVALID_TRANSACTION_ID, INVALID_TRANSACTION_START.
    """
    if transaction_id.nonce:
        raise Refused(ResponseCode.INVALID_TRANSACTION_ID)
    account = transaction_id.accountID
    payer = entity_num(account.shardNum, account.realmNum, account.accountNum)
    if payer is None:
        raise Refused(ResponseCode.INVALID_TRANSACTION_ID)
    start = transaction_id.transactionValidStart
    if not (start.seconds > 0 and 0 <= start.nanos < SECOND_NS):
        raise Refused(ResponseCode.INVALID_TRANSACTION_START)
    return payer, start.seconds, start.nanos, transaction_id.scheduled


def _signed_parts(raw: bytes) -> tuple[bytes, basic_types_pb2.SignatureMap, bytes]:
    try:
        transaction = transaction_pb2.Transaction.FromString(raw)
        if not transaction.signedTransactionBytes:
            # The older envelope, which some SDKs still send: body and signatures side by side.
            return transaction.bodyBytes, transaction.sigMap, raw
        if transaction.bodyBytes or transaction.HasField("sigMap"):
            raise Refused(ResponseCode.INVALID_TRANSACTION)
        signed = transaction_contents_pb2.SignedTransaction.FromString(transaction.signedTransactionBytes)
    except DecodeError:
        raise Refused(ResponseCode.INVALID_TRANSACTION) from None
    return signed.bodyBytes, signed.sigMap, transaction.signedTransactionBytes
