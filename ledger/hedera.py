"""Hedera for one account: an async face over the blocking SDK (SPEC.md, Three places).

Blocking calls run in a few threads; a call that is cancelled may still take effect, as anything sent may.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import to_thread

from ledger.follow import follow
from ledger.hiero import (
    AccountCreateTransaction,
    Hbar,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    Transaction,
    TransactionReceipt,
    TransferTransaction,
)
from ledger.hiero import AccountId as SdkAccount
from ledger.hiero import TopicId as SdkTopic
from ledger.keys import SigningKey, Threshold, any_of, sdk_key, signing_key
from ledger.mirror import Mirror
from ledger.session import Busy, Refused, Session, Submission, TransactionClock, Unreachable, nodes_of
from ledger.topic import LedgerError, TopicMessage, TopicRefused
from protocol.ids import AccountId, PublicKey, Tinybar, TopicId, is_entity

CHUNK = 1_024
"""Bytes of a topic message that fit one transaction."""
MAX_BODY = 20 * CHUNK
"""Bytes of the longest message that is submitted."""
MAX_MEMO = 100
"""Bytes of the longest memo."""

_THREADS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0

_REMEDIES = {
    "INVALID_SIGNATURE": "the key is not the account's, or may not write to the topic; check both",
    "INVALID_TOPIC_ID": "there is no such topic on this network; check the topic",
    "INSUFFICIENT_PAYER_BALANCE": "the account cannot pay the fee; send it some hbar",
    "INSUFFICIENT_ACCOUNT_BALANCE": "the account holds less than that; send it some hbar",
    "INSUFFICIENT_TX_FEE": "the fee is higher than expected; update this software",
    "PAYER_ACCOUNT_NOT_FOUND": "there is no such account on this network; check the account",
    "PAYER_ACCOUNT_DELETED": "the account was deleted; use another one",
    "INVALID_ACCOUNT_ID": "there is no such account on this network; check the account",
    "ACCOUNT_DELETED": "the account was deleted; use another one",
    "MESSAGE_SIZE_TOO_LARGE": "the message is too long; shorten it",
    "INVALID_TRANSACTION_START": "this machine's clock is ahead; synchronise it",
    "TRANSACTION_EXPIRED": "this machine's clock is behind; synchronise it",
    "THROTTLED_AT_CONSENSUS": "the network is overloaded; try again later",
}
# Refusals of a moment, not of the message.
_MAY_PASS = {"INVALID_TRANSACTION_START", "TRANSACTION_EXPIRED", "THROTTLED_AT_CONSENSUS"}


@dataclass(frozen=True, slots=True)
class Network:
    """Where a Hedera network is."""

    name: str
    """`mainnet`, `testnet`, or any name for one of our own."""
    nodes: Mapping[str, str]
    """`host:port` by node account; empty for a public network, whose address book is asked for."""
    mirror_rest: str
    """`http(s)://host:port` of the mirror's REST interface."""
    mirror_grpc: str | None = None
    """`host:port` of the mirror's gRPC interface; without it news come by polling alone."""


class Hedera:
    """A network as one account uses it; made by `open_hedera`."""

    def __init__(
        self, account: AccountId, session: Session, mirror: Mirror, network: Network, patience: float
    ):
        self.account = account
        self.mirror = mirror
        self.network = network
        self.session = session
        self._patience = patience
        self._clock = TransactionClock()
        self._threads = anyio.CapacityLimiter(_THREADS)

    def __repr__(self) -> str:
        return f"Hedera({self.network.name}, {self.account})"

    async def create_account(self, key: PublicKey | Threshold, initial: Tinybar, memo: str = "") -> AccountId:
        """A new account with this key and balance, paid by this account. Raises LedgerError."""
        transaction = AccountCreateTransaction()
        transaction.set_key_without_alias(sdk_key(key))
        transaction.set_initial_balance(Hbar.from_tinybars(_amount(initial)))
        transaction.set_account_memo(_memo(memo))
        receipt, _ = await self._execute(transaction, "create an account")
        return AccountId(str(receipt.account_id))

    async def create_topic(self, memo: str = "", submit_keys: Sequence[PublicKey] = ()) -> TopicId:
        """A new topic to which we and each of these keys may write, or everybody without any. Raises LedgerError."""
        transaction = TopicCreateTransaction(memo=_memo(memo))
        if submit_keys:
            transaction.set_submit_key(any_of(self.session.public, submit_keys))
        receipt, _ = await self._execute(transaction, "create a topic")
        return TopicId(str(receipt.topic_id))

    async def transfer(self, to: AccountId, amount: Tinybar, memo: str = "") -> str:
        """Move money from this account; the transaction's id as mirrors write it. Raises LedgerError."""
        transaction = TransferTransaction()
        transaction.add_hbar_transfer(SdkAccount.from_string(self.account), -_amount(amount))
        transaction.add_hbar_transfer(SdkAccount.from_string(_entity(to)), _amount(amount))
        transaction.set_transaction_memo(_memo(memo))
        _, transaction_id = await self._execute(transaction, f"transfer to {to}")
        return transaction_id

    async def submit(self, topic: TopicId, body: bytes) -> None:
        """Put a message on a topic, in chunks past 1,024 bytes, and wait for its receipts.

        Raises TopicRefused when it can never succeed, LedgerError when the network stays out of reach.
        """
        if not 1 <= len(body) <= MAX_BODY:
            raise TopicRefused(f"a topic message has 1 to {MAX_BODY} bytes, not {len(body)}; shorten it")
        transaction = TopicMessageSubmitTransaction(
            SdkTopic.from_string(_entity(topic)), body, chunk_size=CHUNK
        )
        await self._execute(transaction, f"write to topic {topic}", TopicRefused)

    def topic(self, topic: TopicId) -> "HederaTopic":
        """A topic to write to as this account, and to follow."""
        return HederaTopic(self, TopicId(_entity(topic)))

    async def _execute(
        self, transaction: Transaction, deed: str, refusal: type[LedgerError] = LedgerError
    ) -> tuple[TransactionReceipt, str]:
        """The first receipt and the transaction's id, after as many attempts as patience allows."""
        start = self._clock.next()
        transaction.set_transaction_id(self.session.transaction_id(start))
        submission = Submission(transaction)
        began = anyio.current_time()
        pause = _FIRST_PAUSE
        while True:
            client = self.session.client
            attempt = partial(submission.advance, client)
            try:
                await to_thread.run_sync(attempt, abandon_on_cancel=True, limiter=self._threads)
            except Unreachable as error:
                waited = anyio.current_time() - began
                if waited + pause >= self._patience:
                    nodes = ", ".join(self.network.nodes.values()) or self.network.name
                    raise LedgerError(
                        f"cannot {deed}: {error} at {nodes} for {waited:.1f} s; "
                        "is the network up? check [ledger] nodes"
                    ) from error
                if not isinstance(error, Busy):
                    self.session.renew(client)
            except Refused as error:
                remedy = _REMEDIES.get(error.status, "look the code up among Hedera's response codes")
                kind = LedgerError if error.status in _MAY_PASS else refusal
                raise kind(f"cannot {deed} as {self.account}: {error.status}; {remedy}") from error
            else:
                seconds, nanos = divmod(start, 1_000_000_000)
                return submission.receipts[0], f"{self.account}-{seconds}-{nanos:09}"
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class HederaTopic:
    """The Topic port on Hedera: writes through consensus nodes, reads what the mirror serves."""

    hedera: Hedera
    id: TopicId

    async def submit(self, body: bytes) -> None:
        """Put a message on the topic. Raises TopicRefused, LedgerError."""
        await self.hedera.submit(self.id, body)

    def follow(self) -> AsyncIterator[TopicMessage | None]:
        """Every message from the topic's first, verified, without end.

        Yields None once, when all that the mirror had at the start has been read. Survives outages by itself.
        Raises HistoryBroken.
        """
        subscribe: Callable[..., Callable[[], None]] | None = None
        if self.hedera.network.mirror_grpc is not None:
            subscribe = partial(self.hedera.session.subscribe, self.id)
        return follow(self.hedera.mirror, self.id, subscribe)


@asynccontextmanager
async def _open(
    network: Network, account: AccountId, key: SigningKey, patience: float
) -> AsyncIterator[Hedera]:
    async with Mirror(network.mirror_rest) as mirror:
        nodes = await to_thread.run_sync(nodes_of, network.name, network.nodes, abandon_on_cancel=True)
        session = Session(network.name, nodes, network.mirror_grpc, account, key)
        try:
            yield Hedera(account, session, mirror, network, patience)
        finally:
            session.close()


def open_hedera(
    network: Network, account: AccountId, key: str | bytes, *, patience: float = 60.0
) -> AbstractAsyncContextManager[Hedera]:
    """A network for use as an account with its private key (see `signing_key`).

    What fails for want of an answer is tried again for `patience` seconds, and the attempt they end in; a
    transaction lives for 120.
    Raises LedgerError.
    """
    return _open(network, AccountId(_entity(account)), signing_key(key), patience)


def _entity(text: str) -> str:
    if not is_entity(text):
        raise LedgerError(f"{text!r} is no Hedera id; it reads 0.0.1234")
    return text


def _amount(amount: Tinybar) -> int:
    if amount < 0:
        raise LedgerError(f"{amount} tinybar is less than nothing; correct the amount")
    return int(amount)


def _memo(memo: str) -> str:
    if len(memo.encode()) > MAX_MEMO:
        raise LedgerError(f"a memo has at most {MAX_MEMO} bytes, not {len(memo.encode())}; shorten it")
    return memo
