"""One account's dealings with the consensus nodes, through the blocking SDK: sending belongs into a thread.

LedgerError
  Unreachable   no answer: the same submission may be tried again
    Busy        an answer, but none yet that settles it
  Refused       an answer that settles it; carries the network's status
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc

from ledger.hiero import AccountId as SdkAccount
from ledger.hiero import (
    Client,
    MaxAttemptsError,
    Network,
    PrecheckError,
    ReceiptStatusError,
    ResponseCode,
    TopicMessageQuery,
    Transaction,
    TransactionGetReceiptQuery,
    TransactionId,
    TransactionReceipt,
    _Node,
    timestamp_pb2,
)
from ledger.hiero import PublicKey as SdkPublicKey
from ledger.hiero import TopicId as SdkTopic
from ledger.keys import SigningKey
from ledger.topic import LedgerError
from protocol.ids import AccountId, Nanoseconds, TopicId

CALL_SECONDS = 5.0
"""The longest that one answer of a node is waited for."""
ATTEMPT_SECONDS = 10.0
"""The longest that one attempt, over several nodes, lasts."""

_RECEIPT_ATTEMPTS = 20
_MIN_BACKOFF, _MAX_BACKOFF = 0.125, 0.5
# Nodes refuse a transaction from their future; clocks that agree to a few seconds are good enough.
_HEAD_START = Nanoseconds(5_000_000_000)
_STEP = Nanoseconds(1_000)

_PASSING = {
    "BUSY",
    "PLATFORM_NOT_ACTIVE",
    "PLATFORM_TRANSACTION_NOT_CREATED",
    "INVALID_NODE_ACCOUNT",
    "UNKNOWN",
    "RECEIPT_NOT_FOUND",
    "RECORD_NOT_FOUND",
}


class Unreachable(LedgerError):
    """The network did not answer; the same submission may be tried again."""


class Busy(Unreachable):
    """The network answers, but asks to come back, or has no receipt yet."""


class Refused(LedgerError):
    """The network refused for good."""

    def __init__(self, status: str, at_consensus: bool, receipt: TransactionReceipt | None = None) -> None:
        super().__init__(status)
        self.status = status
        """The name of Hedera's response code."""
        self.at_consensus = at_consensus
        """Whether the network as a whole says so; else one node, which may not know of an earlier attempt."""
        self.receipt = receipt
        """What the network says besides, when it is the network that says so."""


class TransactionClock:
    """Valid starts of an account's transactions: strictly increasing, with room for chunks in between."""

    def __init__(self, now: Callable[[], int] = time.time_ns, last: int = 0) -> None:
        """Counts on from `last`, what an earlier process gave out; `now` is in nanoseconds."""
        self._now = now
        # Two processes that share an account rarely pick the same nanosecond.
        self._offset = secrets.randbelow(_STEP)
        self._last = last

    def next(self) -> Nanoseconds:
        """The valid start of the next transaction; up to 1,000 chunks may count on from it."""
        start = (self._now() - _HEAD_START) // _STEP * _STEP + self._offset
        self._last = max(start, self._last + _STEP)
        return Nanoseconds(self._last)


@dataclass(frozen=True, slots=True)
class Node:
    """A consensus node as the SDK knows it."""

    account: SdkAccount
    address: str
    book: object
    """Its entry in the address book, from which its certificate is checked; None on a network of our own."""


class Session:
    """The SDK's client, thrown away when it fails: a fresh one has no unhealthy nodes, no broken channels."""

    def __init__(
        self, name: str, nodes: tuple[Node, ...], mirror: str | None, account: AccountId, key: SigningKey
    ):
        self._name = name
        self._nodes = nodes
        self._mirror = mirror
        self._account = SdkAccount.from_string(account)
        self._key = key
        self.client = self._fresh()

    @property
    def public(self) -> SdkPublicKey:
        """The account's public key."""
        return self._key.public

    def _fresh(self) -> Client:
        nodes = [_Node(node.account, node.address, node.book) for node in self._nodes]
        client = Client(Network(self._name, nodes=nodes, mirror_address=self._mirror))
        # The SDK's logger writes to stdout, which belongs to the command.
        client.logger.set_silent(True)
        client.set_operator_with(self._account, self._key.public, self._key.sign)
        client.set_grpc_deadline(CALL_SECONDS).set_request_timeout(ATTEMPT_SECONDS)
        client.set_min_backoff(_MIN_BACKOFF).set_max_backoff(_MAX_BACKOFF)
        client.set_max_attempts(max(3, len(nodes)))
        client.set_allow_receipt_node_failover(True)
        return client

    def renew(self, failed: Client) -> None:
        """Replace the client, unless somebody else who saw it fail already has."""
        if self.client is failed:
            self.client = self._fresh()
            failed.close()

    def close(self) -> None:
        """Close its channels."""
        self.client.close()

    def transaction_id(self, start: Nanoseconds) -> TransactionId:
        """The id of a transaction that this account pays."""
        seconds, nanos = divmod(start, 1_000_000_000)
        return TransactionId(self._account, timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos))

    def subscribe(
        self, topic: TopicId, on_news: Callable[[], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Have `on_news` called, in a thread of the SDK's, for each message that the mirror sees.

        `on_end` is called when the subscription ends by itself: it is not renewed here. Returns how to stop.
        """
        client = self._fresh()
        query = TopicMessageQuery(topic_id=SdkTopic.from_string(topic), chunking_enabled=False)
        query.set_max_attempts(1)
        query.set_completion_handler(on_end)
        query.set_error_handler(lambda _: on_end())
        handle = query.subscribe(client, lambda _: on_news())

        def stop() -> None:
            handle.cancel()
            client.close()

        return stop


def nodes_of(name: str, nodes: Mapping[str, str]) -> tuple[Node, ...]:
    """The nodes by account, or those in a public network's address book, asked of its mirror. Blocks.

    Raises LedgerError.
    """
    if not nodes:
        try:
            found = Network(name).nodes
        except ValueError as error:
            raise LedgerError(
                f"no nodes are known for the network {name!r}; give them in [ledger] nodes"
            ) from error
        return tuple(Node(node._account_id, str(node._address), node._address_book) for node in found)
    return tuple(_node(account, address) for account, address in nodes.items())


def _node(account: str, address: str) -> Node:
    try:
        node = _Node(SdkAccount.from_string(account), address, None)
    except ValueError as error:
        raise LedgerError(
            f"{account!r} at {address!r} is no node; [ledger] nodes wants 0.0.3 at host:port"
        ) from error
    return Node(node._account_id, address, None)


class Submission:
    """One transaction on its way, chunk by chunk; it takes effect once however often it is advanced."""

    def __init__(self, transaction: Transaction, signers: Sequence[SigningKey] = ()) -> None:
        """Signed by the account that pays, and by `signers`."""
        self._transaction = transaction
        self._signers = signers
        self._sent = 0
        self.receipts: list[TransactionReceipt] = []

    def advance(self, client: Client) -> None:
        """Send what is unsent and wait for the receipts. Blocks. Raises Unreachable, Refused."""
        self._transaction.freeze_with(client)
        for key in self._signers:
            self._transaction.sign_with(key.public, key.sign)
        ids = self._transaction._transaction_ids.get_list()
        try:
            # All chunks go out before the first receipt: waiting for each in turn, twenty would outlast the
            # window in which they must arrive. They may arrive in any order.
            while self._sent < len(ids):
                self._send(client)
                self._sent += 1
            while len(self.receipts) < len(ids):
                self.receipts.append(_receipt(client, ids[len(self.receipts)]))
        except Unreachable:
            # What has no receipt is sent again under its old id, which the network takes once only.
            self._sent = len(self.receipts)
            raise

    def _send(self, client: Client) -> None:
        self._transaction._transaction_ids.set_index(self._sent)
        self._transaction._node_account_ids.set_index(0)
        try:
            # A chunked transaction's own execute starts at its first chunk, and stops at the first duplicate.
            Transaction.execute(self._transaction, client, wait_for_receipt=False)
        except (PrecheckError, MaxAttemptsError, grpc.RpcError, RuntimeError, ValueError, OSError) as error:
            if not (isinstance(error, PrecheckError) and error.status == ResponseCode.DUPLICATE_TRANSACTION):
                raise _translated(error) from error


def _receipt(client: Client, transaction_id: TransactionId) -> TransactionReceipt:
    query = TransactionGetReceiptQuery(transaction_id, validate_status=True)
    query.set_max_attempts(_RECEIPT_ATTEMPTS)
    try:
        return query.execute(client)
    except (
        PrecheckError,
        ReceiptStatusError,
        MaxAttemptsError,
        grpc.RpcError,
        RuntimeError,
        ValueError,
        OSError,
    ) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> Unreachable | Refused:
    cause: BaseException = error
    if isinstance(error, MaxAttemptsError) and error.last_error is not None:
        cause = error.last_error
    if isinstance(cause, PrecheckError | ReceiptStatusError):
        status = cause.status.name
        if status in _PASSING:
            return Busy(status)
        if isinstance(cause, ReceiptStatusError):
            return Refused(status, at_consensus=True, receipt=cause.transaction_receipt)
        return Refused(status, at_consensus=False)
    if isinstance(cause, grpc.Call):
        return Unreachable(f"no node answered ({cause.code().name})")
    if isinstance(cause, RuntimeError):
        # The SDK says "All nodes are unhealthy", which is its bookkeeping, not the cause.
        return Unreachable("no node answered")
    return Unreachable(" ".join(str(cause).split()) or type(cause).__name__)
