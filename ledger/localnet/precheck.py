"""What a node checks before a transaction may reach consensus: a refused one costs nothing."""

from ledger.hiero import ResponseCode
from ledger.localnet.envelope import Envelope, parse_envelope
from ledger.localnet.errors import Refused
from ledger.localnet.execution import check_memo, is_understood
from ledger.localnet.keys import is_satisfied
from ledger.localnet.state import SECOND_NS, Ledger
from ledger.localnet.transactions import KINDS, fee_for

MAX_VALID_SECONDS = 180
MAX_CLOCK_LEAD_NS = 10 * SECOND_NS
"""How far a client's clock may be ahead of the node's."""


def precheck(ledger: Ledger, raw: bytes, node: int, now: int) -> Envelope:
    """The transaction that bytes stand for, once it may reach consensus.

    node: the account number of the node that was asked. now: the node's clock, nanoseconds. Raises Refused.
    """
    envelope = parse_envelope(raw)
    check_memo(envelope.body.memo)
    _check_window(envelope, now)
    if envelope.body.nodeAccountID.accountNum != node:
        raise Refused(ResponseCode.INVALID_NODE_ACCOUNT)
    _check_supported(envelope)
    if envelope.key in ledger.by_id:
        raise Refused(ResponseCode.DUPLICATE_TRANSACTION)
    _check_payer(ledger, envelope)
    return envelope


def _check_window(envelope: Envelope, now: int) -> None:
    seconds = envelope.body.transactionValidDuration.seconds
    if not 1 <= seconds <= MAX_VALID_SECONDS:
        raise Refused(ResponseCode.INVALID_TRANSACTION_DURATION)
    if envelope.valid_start > now + MAX_CLOCK_LEAD_NS:
        raise Refused(ResponseCode.INVALID_TRANSACTION_START)
    if envelope.valid_start + seconds * SECOND_NS <= now:
        raise Refused(ResponseCode.TRANSACTION_EXPIRED)


def _check_supported(envelope: Envelope) -> None:
    kind = KINDS.get(envelope.kind)
    if kind is None:
        raise Refused(ResponseCode.NOT_SUPPORTED)
    if not is_understood(kind, envelope):
        raise Refused(ResponseCode.NOT_SUPPORTED)


def _check_payer(ledger: Ledger, envelope: Envelope) -> None:
    payer = ledger.accounts.get(envelope.payer)
    if payer is None:
        raise Refused(ResponseCode.PAYER_ACCOUNT_NOT_FOUND)
    if payer.is_deleted:
        raise Refused(ResponseCode.PAYER_ACCOUNT_DELETED)
    if not is_satisfied(payer.key, envelope.signatures):
        raise Refused(ResponseCode.INVALID_SIGNATURE)
    fee = fee_for(ledger, envelope)
    if envelope.body.transactionFee < fee:
        raise Refused(ResponseCode.INSUFFICIENT_TX_FEE, cost=fee)
    if payer.balance < fee:
        raise Refused(ResponseCode.INSUFFICIENT_PAYER_BALANCE, cost=fee)
