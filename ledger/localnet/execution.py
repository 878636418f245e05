"""What the rows of the table of transactions share: a transaction in the middle of being applied."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ledger.hiero import ResponseCode, basic_types_pb2, transaction_receipt_pb2
from ledger.localnet.envelope import Envelope
from ledger.localnet.errors import Refused
from ledger.localnet.keys import is_satisfied
from ledger.localnet.state import Ledger

MAX_MEMO_BYTES = 100
AUTO_RENEW_SECONDS = range(2_592_000, 8_000_002)
"""Thirty days to ninety-two and a bit, as the public networks allow."""


@dataclass(slots=True)
class Execution:
    """One transaction in the middle of being applied."""

    ledger: Ledger
    envelope: Envelope
    time: int
    receipt: transaction_receipt_pb2.TransactionReceipt
    moved: dict[int, int] = field(default_factory=dict)
    """Net tinybar by account number."""
    entity: int | None = None
    schedule: int | None = None
    """The schedule that held it, if it is a scheduled one."""
    due: int | None = None
    """The schedule that this transaction completes; it is executed right after."""

    def move(self, num: int, amount: int) -> None:
        """Change a balance, and note it for the record's transfer list."""
        account = self.ledger.accounts[num]
        self.ledger.accounts[num] = replace(account, balance=account.balance + amount)
        self.moved[num] = self.moved.get(num, 0) + amount

    def require(self, *keys: basic_types_pb2.Key) -> None:
        """Raises Refused, INVALID_SIGNATURE, unless the transaction's signatures satisfy each key."""
        if not all(is_satisfied(key, self.envelope.signatures) for key in keys):
            raise Refused(ResponseCode.INVALID_SIGNATURE)

    def new_entity(self) -> int:
        """The next free entity number."""
        self.entity = self.ledger.next_entity
        self.ledger.next_entity += 1
        return self.entity


Signers = Callable[[Ledger, Envelope], Iterable[basic_types_pb2.Key]]
"""The keys that must sign a transaction besides its payer's. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    """What the mirror calls it."""
    run: Callable[[Execution], None]
    fields: frozenset[str]
    """The fields of its body that are understood; one that sets another is refused, never half obeyed."""
    signers: Signers | None = None
    """Who must sign it when it is scheduled; None when it cannot be."""


def is_understood(kind: Kind, envelope: Envelope) -> bool:
    """Whether a body of a kind sets only fields that are understood."""
    operation = getattr(envelope.body, envelope.kind)
    return {part.name for part, _ in operation.ListFields()} <= kind.fields


def check_memo(memo: str) -> None:
    """Raises Refused: MEMO_TOO_LONG, INVALID_ZERO_BYTE_IN_STRING."""
    if len(memo.encode()) > MAX_MEMO_BYTES:
        raise Refused(ResponseCode.MEMO_TOO_LONG)
    if "\0" in memo:
        raise Refused(ResponseCode.INVALID_ZERO_BYTE_IN_STRING)


def auto_renew_seconds(seconds: int) -> int:
    """The period itself. Raises Refused: AUTORENEW_DURATION_NOT_IN_RANGE."""
    if seconds not in AUTO_RENEW_SECONDS:
        raise Refused(ResponseCode.AUTORENEW_DURATION_NOT_IN_RANGE)
    return seconds
