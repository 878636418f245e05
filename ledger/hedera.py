"""Hedera for one account: an async face over the blocking SDK (SPEC.md, Three places).

Messages and transfers go through an outbox: a call that is cancelled, or out of patience, may still take effect,
and is carried on with for as long as the account is open, or opened again with the same outbox.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from ledger.chunks import History
from ledger.delivery import RENEWABLE, Deliveries, described
from ledger.follow import follow
from ledger.hiero import (
    AccountCreateTransaction,
    Hbar,
    TopicCreateTransaction,
    Transaction,
    TransactionReceipt,
)
from ledger.keys import SigningKey, any_of, sdk_key, signing_key
from ledger.mirror import Mirror
from ledger.outbox import CHUNK, UNLIMITED, Deed, Message, Outbox, Payment
from ledger.session import Refused, Session, Submission, Unreachable, nodes_of
from ledger.topic import LedgerError, TopicMessage, TopicRefused
from protocol.ids import AccountId, PublicKey, Tinybar, TopicId, is_entity
from protocol.transfers import SharedKey

MAX_BODY = 20 * CHUNK
"""Bytes of the longest message that is submitted."""
MAX_MEMO = 100
"""Bytes of the longest memo."""
CREATE_FEE_CAP = Tinybar(10 * 100_000_000)
"""The most that an account or a topic may cost in fees."""
KEY_FEE_CAP = Tinybar(100_000_000)
"""And each key that a topic keeps on top of that."""

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
        self,
        account: AccountId,
        session: Session,
        mirror: Mirror,
        network: Network,
        patience: float,
        deliveries: Deliveries,
    ):
        self.account = account
        self.mirror = mirror
        self.network = network
        self.session = session
        self.patience = patience
        self._deliveries = deliveries

    def __repr__(self) -> str:
        return f"Hedera({self.network.name}, {self.account})"

    async def create_account(self, key: PublicKey | SharedKey, initial: Tinybar, memo: str = "") -> AccountId:
        """A new account with this key and balance, paid by this account. Raises LedgerError."""
        named, balance, said = sdk_key(key), Hbar.from_tinybars(_amount(initial)), _memo(memo)

        def creation() -> Transaction:
            transaction = AccountCreateTransaction().set_key_without_alias(named)
            return transaction.set_initial_balance(balance).set_account_memo(said)

        receipt = await self._execute(creation, "create an account", CREATE_FEE_CAP, initial)
        return AccountId(str(receipt.account_id))

    async def create_topic(self, memo: str = "", submit_keys: Sequence[PublicKey] = ()) -> TopicId:
        """A new topic to which we and each of these keys may write, or everybody without any. Raises LedgerError."""
        said = _memo(memo)
        writers = any_of(self.session.public, submit_keys) if submit_keys else None
        cap = Tinybar(CREATE_FEE_CAP + len(submit_keys) * KEY_FEE_CAP)
        creation = partial(TopicCreateTransaction, memo=said, submit_key=writers)
        receipt = await self._execute(creation, "create a topic", cap)
        return TopicId(str(receipt.topic_id))

    async def transfer(
        self, to: AccountId, amount: Tinybar, memo: str = "", *, key: str | None = None
    ) -> str:
        """Move money from this account; the transaction's id as mirrors write it.

        A key names this transfer: however often it is asked for, also after a crash, it is made once. Without
        one, a transfer of the same amount to the same account with the same memo is the same one until its
        receipt is here: give each a memo or a key of its own. Raises LedgerError.
        """
        return await self._deliver(
            Payment(AccountId(_entity(to)), Tinybar(_amount(amount)), _memo(memo)), key
        )

    async def submit(self, topic: TopicId, body: bytes, *, key: str | None = None) -> None:
        """Put a message on a topic, in chunks past 1,024 bytes, and wait for its receipts.

        A key names this message: however often it is submitted, also after a crash, it is on the topic once.
        Without one, the same body for the same topic is the same message until its receipts are here.
        Raises TopicRefused when it can never succeed, LedgerError when the network stays out of reach.
        """
        if not 1 <= len(body) <= MAX_BODY:
            raise TopicRefused(f"a topic message has 1 to {MAX_BODY} bytes, not {len(body)}; shorten it")
        await self._deliver(Message(TopicId(_entity(topic)), body), key)

    def topic(self, topic: TopicId) -> "HederaTopic":
        """A topic to write to as this account, and to follow."""
        return HederaTopic(self, TopicId(_entity(topic)))

    async def _deliver(self, deed: Deed, key: str | None) -> str:
        """Its transaction id, once a deed's entry in the outbox is done."""
        began = anyio.current_time()
        flight = self._deliveries.begin(deed, key)
        while flight.entry.state == "pending":
            news = flight.news
            await news.wait()
            waited = anyio.current_time() - began
            if flight.entry.state == "pending" and waited + flight.pause >= self.patience:
                raise self._impatient(described(deed), flight.trouble, waited)
        if flight.entry.state == "refused":
            kind = TopicRefused if isinstance(deed, Message) else LedgerError
            raise self._refusal(described(deed), flight.entry.status, kind)
        return self._deliveries.transaction_id(flight.entry.start)

    async def execute(
        self,
        build: Callable[[], Transaction],
        what: str,
        fee_cap: Tinybar,
        moved: int = 0,
        signers: Sequence[SigningKey] = (),
    ) -> TransactionReceipt:
        """The receipt of a transaction that is not kept, after as many attempts as patience allows.

        build: makes it, anew for each id that it is sent under. what: it, as an attempt. moved: tinybar that
        it moves besides its fee. signers: who signs it besides this account.
        Raises Refused when the network refuses it, LedgerError when it stays out of reach.
        """
        began = anyio.current_time()
        pause = _FIRST_PAUSE
        submission = self._submission(build, fee_cap, moved, signers)
        while True:
            try:
                await self._deliveries.advance(submission)
            except Unreachable as error:
                waited = anyio.current_time() - began
                if waited + pause >= self.patience:
                    raise self._impatient(what, error, waited) from error
            except Refused as error:
                is_over = anyio.current_time() - began + pause >= self.patience
                if is_over or not (error.at_consensus and error.status in RENEWABLE):
                    raise
                submission = self._submission(build, fee_cap, moved, signers)
            else:
                return submission.receipts[0]
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def refusal(self, what: str, error: Refused) -> LedgerError:
        """What to tell people of a refusal that nothing else is made of."""
        return self._refusal(what, error.status, LedgerError)

    async def _execute(
        self, build: Callable[[], Transaction], what: str, fee_cap: Tinybar, moved: int = 0
    ) -> TransactionReceipt:
        try:
            return await self.execute(build, what, fee_cap, moved)
        except Refused as error:
            raise self.refusal(what, error) from error

    def _submission(
        self, build: Callable[[], Transaction], fee_cap: Tinybar, moved: int, signers: Sequence[SigningKey]
    ) -> Submission:
        transaction = build()
        transaction.transaction_fee = int(fee_cap)
        return self._deliveries.passing(transaction, Tinybar(fee_cap + moved), signers)[0]

    def _impatient(self, what: str, trouble: LedgerError | None, waited: float) -> LedgerError:
        if isinstance(trouble, Refused):
            return self._refusal(what, trouble.status, LedgerError)
        if not isinstance(trouble, Unreachable):
            return LedgerError(f"cannot {what} yet: {trouble}")
        nodes = ", ".join(self.network.nodes.values()) or self.network.name
        return LedgerError(
            f"cannot {what}: {trouble} at {nodes} for {waited:.1f} s; is the network up? check [ledger] nodes"
        )

    def _refusal(self, what: str, status: str, kind: type[LedgerError]) -> LedgerError:
        remedy = _REMEDIES.get(status, "look the code up among Hedera's response codes")
        kind = LedgerError if status in _MAY_PASS else kind
        return kind(f"cannot {what} as {self.account}: {status}; {remedy}")


@dataclass(frozen=True, slots=True)
class HederaTopic:
    """The Topic port on Hedera: writes through consensus nodes, reads what the mirror serves."""

    hedera: Hedera
    id: TopicId

    async def submit(self, body: bytes, *, key: str | None = None) -> None:
        """Put a message on the topic, once a key. Raises TopicRefused, LedgerError."""
        await self.hedera.submit(self.id, body, key=key)

    def follow(self, history: History | None = None) -> AsyncIterator[TopicMessage | None]:
        """Every message from the topic's first, or from where a history of it stands, verified, without end.

        Yields None once, when all that the mirror had at the start has been read. Survives outages by itself.
        Raises HistoryBroken.
        """
        subscribe: Callable[..., Callable[[], None]] | None = None
        if self.hedera.network.mirror_grpc is not None:
            subscribe = partial(self.hedera.session.subscribe, self.id)
        return follow(self.hedera.mirror, self.id, subscribe, history)


@asynccontextmanager
async def _open(
    network: Network, account: AccountId, key: SigningKey, patience: float, outbox: Outbox | None
) -> AsyncIterator[Hedera]:
    async with Mirror(network.mirror_rest) as mirror:
        nodes = await to_thread.run_sync(nodes_of, network.name, network.nodes, abandon_on_cancel=True)
        session = Session(network.name, nodes, network.mirror_grpc, account, key)
        with ExitStack() as stack:
            stack.callback(session.close)
            if outbox is None:
                outbox = stack.enter_context(Outbox.open(None, UNLIMITED))
            async with _background() as tasks:
                owner = f"{network.name} {account}"
                deliveries = Deliveries(owner, account, session, mirror, outbox, tasks)
                deliveries.resume()
                yield Hedera(account, session, mirror, network, patience, deliveries)


@asynccontextmanager
async def _background() -> AsyncIterator[TaskGroup]:
    """Tasks that live as long as the context; its own errors are the caller's, and leave it as they are."""
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        yield tasks
    finally:
        tasks.cancel_scope.cancel()
        # Told of the error in flight, it would wrap it in a group, which no `except LedgerError` catches.
        await tasks.__aexit__(None, None, None)


def open_hedera(
    network: Network,
    account: AccountId,
    key: str | bytes,
    *,
    patience: float = 60.0,
    outbox: Outbox | None = None,
) -> AbstractAsyncContextManager[Hedera]:
    """A network for use as an account with its private key (see `signing_key`).

    A call waits `patience` seconds for an answer, and the attempt they end in. What is unfinished in the
    outbox is carried on with; without one, what is unfinished is forgotten in the end, and nothing limits
    what is spent.
    Raises LedgerError.
    """
    return _open(network, AccountId(_entity(account)), signing_key(key), patience, outbox)


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
