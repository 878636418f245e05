"""What is true on the localnet: accounts, topics, messages and the transactions that made them.

Nothing here reads a clock, a file or a socket: the same transactions at the same times give the same ledger.
"""

from dataclasses import dataclass, field

from ledger.hiero import (
    ResponseCode,
    basic_types_pb2,
    consensus_submit_message_pb2,
    schedulable_transaction_body_pb2,
    transaction_record_pb2,
)
from ledger.localnet.errors import Refused
from ledger.localnet.fees import FeeSchedule
from ledger.running_hash import INITIAL_RUNNING_HASH

SECOND_NS = 1_000_000_000

OPERATOR = 2
"""The account that holds every hbar at genesis, 0.0.2."""
NODE = 3
"""The account of the first consensus node, 0.0.3."""
NODES = range(NODE, NODE + 7)
"""The accounts that nodes can have; query payments go to them, and they exist whether their nodes run or not."""
FEE_COLLECTOR = 802
"""The account that transaction fees go to, 0.0.802."""
SUPPLY = 50_000_000_000 * 100_000_000
"""Every tinybar there is."""
FIRST_ENTITY = 1001
"""The number of the first entity that a transaction creates, as on every Hedera network."""

TransactionKey = tuple[int, int, int, bool]
"""What makes a transaction id unique: the payer's number, seconds and nanoseconds of its valid start, and
whether it is a scheduled one, which shares the rest with the transaction that created its schedule."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account."""

    num: int
    key: basic_types_pb2.Key
    balance: int
    """Tinybar."""
    created: int
    """Consensus time of the transaction that created it, nanoseconds."""
    memo: str = ""
    receiver_signature_required: bool = False
    auto_renew_seconds: int = 7_776_000
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an owner lets a spender take."""

    granted: int
    """Tinybar, when it was approved."""
    left: int
    """Tinybar, more than 0."""
    time: int
    """Consensus time of the approval, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One consensus topic, with the running hash and the number of its last message."""

    num: int
    created: int
    memo: str
    admin_key: basic_types_pb2.Key | None
    submit_key: basic_types_pb2.Key | None
    auto_renew_account: int | None
    auto_renew_seconds: int
    sequence: int = 0
    running_hash: bytes = INITIAL_RUNNING_HASH
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or one chunk of a longer one, as consensus ordered it."""

    sequence: int
    time: int
    payer: int
    body: bytes
    running_hash: bytes
    chunk: consensus_submit_message_pb2.ConsensusMessageChunkInfo | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the Hedera File Service."""

    num: int
    created: int
    memo: str
    keys: tuple[basic_types_pb2.Key, ...]
    """Who may change it; nobody where there are none."""
    contents: bytes
    expires: int
    """Nanoseconds; shown, and without effect."""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who has signed a schedule, and when."""

    key: bytes
    """The raw public key: ed25519, 32 bytes, or secp256k1, 33."""
    signature: bytes
    time: int
    """Consensus time of the transaction that brought the signature, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A transaction that waits for signatures."""

    num: int
    created: int
    creator: int
    payer: int
    memo: str
    admin_key: basic_types_pb2.Key | None
    body: schedulable_transaction_body_pb2.SchedulableTransactionBody
    transaction_id: basic_types_pb2.TransactionID
    """What the scheduled transaction is called: the creating one's id, marked as scheduled."""
    expires: int
    """Nanoseconds; from then on the network has forgotten it."""
    is_expiry_given: bool
    signatories: tuple[Signatory, ...] = ()
    executed: int | None = None
    """Consensus time of the scheduled transaction, successful or not."""
    deleted: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction that reached consensus, successful or not."""

    kind: str
    """The name of its field in TransactionBody."""
    time: int
    record: transaction_record_pb2.TransactionRecord
    entity: int | None
    """The number of the account or topic that it created or addressed."""
    node: int
    max_fee: int
    valid_seconds: int


@dataclass(slots=True)
class Ledger:
    """Everything that the localnet knows; changed by `transactions.apply` alone."""

    time: int
    """Consensus time of the last transaction, nanoseconds."""
    fees: FeeSchedule
    accounts: dict[int, Account] = field(default_factory=dict)
    topics: dict[int, Topic] = field(default_factory=dict)
    allowances: dict[tuple[int, int], Allowance] = field(default_factory=dict)
    """By owner and spender."""
    schedules: dict[int, Schedule] = field(default_factory=dict)
    """In the order of their creation, expired ones included."""
    schedule_by_content: dict[bytes, int] = field(default_factory=dict)
    """The last schedule of each content, by the content's digest."""
    files: dict[int, StoredFile] = field(default_factory=dict)
    messages: dict[int, list[Message]] = field(default_factory=dict)
    """By topic; the message with sequence number n is at n - 1."""
    entries: list[Entry] = field(default_factory=list)
    """In consensus order."""
    by_id: dict[TransactionKey, Entry] = field(default_factory=dict)
    by_account: dict[int, list[Entry]] = field(default_factory=dict)
    """Those that changed an account's balance, and those that have its transaction ids, in consensus order."""
    next_entity: int = FIRST_ENTITY

    def account(self, account_id: basic_types_pb2.AccountID) -> Account:
        """The account that an id names. Raises Refused: INVALID_ACCOUNT_ID, ACCOUNT_DELETED."""
        account = self.known_account(account_id)
        if account.is_deleted:
            raise Refused(ResponseCode.ACCOUNT_DELETED)
        return account

    def known_account(self, account_id: basic_types_pb2.AccountID) -> Account:
        """The account that an id names, deleted or not. Raises Refused: INVALID_ACCOUNT_ID."""
        num = entity_num(account_id.shardNum, account_id.realmNum, account_id.accountNum)
        if num is None or num not in self.accounts:
            raise Refused(ResponseCode.INVALID_ACCOUNT_ID)
        return self.accounts[num]

    def topic(self, topic_id: basic_types_pb2.TopicID) -> Topic:
        """The topic that an id names. Raises Refused: INVALID_TOPIC_ID."""
        num = entity_num(topic_id.shardNum, topic_id.realmNum, topic_id.topicNum)
        if num is None or num not in self.topics or self.topics[num].is_deleted:
            raise Refused(ResponseCode.INVALID_TOPIC_ID)
        return self.topics[num]

    def file(self, file_id: basic_types_pb2.FileID) -> StoredFile:
        """The file that an id names, deleted or not. Raises Refused: INVALID_FILE_ID."""
        num = entity_num(file_id.shardNum, file_id.realmNum, file_id.fileNum)
        if num is None or num not in self.files:
            raise Refused(ResponseCode.INVALID_FILE_ID)
        return self.files[num]

    def schedule(self, schedule_id: basic_types_pb2.ScheduleID, time: int) -> Schedule:
        """The schedule that an id names and that has not expired. Raises Refused: INVALID_SCHEDULE_ID."""
        num = entity_num(schedule_id.shardNum, schedule_id.realmNum, schedule_id.scheduleNum)
        if num is None or num not in self.schedules or self.schedules[num].expires <= time:
            raise Refused(ResponseCode.INVALID_SCHEDULE_ID)
        return self.schedules[num]


def genesis(operator_key: bytes, time: int, fees: FeeSchedule) -> Ledger:
    """The ledger before its first transaction: all money is the operator's; its key is 32 bytes, ed25519."""
    key = basic_types_pb2.Key(ed25519=operator_key)
    balances = {OPERATOR: SUPPLY, **dict.fromkeys(NODES, 0), FEE_COLLECTOR: 0}
    accounts = {num: Account(num, key, balance, created=time) for num, balance in balances.items()}
    return Ledger(time=time, fees=fees, accounts=accounts)


def entity_num(shard: int, realm: int, num: int) -> int | None:
    """The number of an entity of shard 0, realm 0, the only ones there are; None for any other."""
    return num if shard == 0 and realm == 0 and num > 0 else None
