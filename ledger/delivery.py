"""From the outbox to the network: each entry is sent until its fate is known, and takes effect once.

Within its transaction's lifetime an entry is sent again under the same id, which the network takes once. After
it, a marker is sent, and once the mirror, which reads in consensus order, shows the marker, what the mirror does
not show of the entry never happened and never can: only then does the entry get a new id.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from ledger.chunks import CHUNK_WINDOW
from ledger.hiero import AccountId as SdkAccount
from ledger.hiero import TopicId as SdkTopic
from ledger.hiero import TopicMessageSubmitTransaction, Transaction, TransferTransaction
from ledger.keys import SigningKey
from ledger.mirror import Mirror
from ledger.outbox import CHUNK, FEE_CAP, Deed, Entry, Message, Outbox, Payment, cost_cap
from ledger.pages import nanoseconds
from ledger.session import Busy, Refused, Session, Submission, TransactionClock, Unreachable
from ledger.topic import LedgerError
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar

LIFETIME = Nanoseconds(120 * SECOND)
"""How long after its valid start a transaction may take effect."""
RENEWABLE = frozenset({"THROTTLED_AT_CONSENSUS", "TRANSACTION_EXPIRED"})
"""Failures at consensus of which the deed is innocent: it may be done under another id."""

_THREADS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
_PRICE_PAUSE, _LONGEST_PRICE_PAUSE = 5.0, 60.0
_MARKER_PATIENCE = 60.0
# Clocks that agree to ten seconds are good enough, here as for a transaction's start.
_MARGIN = Nanoseconds(10 * SECOND)
# A public mirror is several machines, and those that are behind must catch up before silence means anything.
_AFTERLIFE = Nanoseconds(60 * SECOND)
# A node's account, which every network has.
_MARKED = AccountId("0.0.3")

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Flight:
    """An entry on its way, and how its last attempt went."""

    entry: Entry
    doubt: bool
    """Whether it may have been sent already, so that a single node's refusal proves nothing."""
    trouble: LedgerError | None = None
    """Why it is not settled yet."""
    pause: float = 0.0
    """Seconds until the next attempt."""
    news: anyio.Event = field(default_factory=anyio.Event)
    """Set, and replaced, after every attempt."""

    def tell(self) -> None:
        """Wake who waits for news."""
        self.news.set()
        self.news = anyio.Event()


class Deliveries:
    """One account's entries on their way, each in a task of its own, for as long as the task group lives."""

    def __init__(
        self,
        owner: str,
        account: AccountId,
        session: Session,
        mirror: Mirror,
        outbox: Outbox,
        tasks: TaskGroup,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._owner = owner
        self._account = account
        self._session = session
        self._mirror = mirror
        self._outbox = outbox
        self._tasks = tasks
        self._now = now
        # Later ids than this were never taken: a clock that once ran ahead must not stop us until then.
        last = outbox.last_start if outbox.last_start <= now() + _MARGIN else 0
        self._clock = TransactionClock(now, last)
        self._flights: dict[int, Flight] = {}
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._unpriced = anyio.Event()
        self._marked = Nanoseconds(0)
        self._marking: anyio.Event | None = None

    def resume(self) -> None:
        """Start what an earlier process left unfinished, and the counting of fees."""
        for entry in self._outbox.pending(self._owner):
            log.info("settling what was left unfinished: %s", described(entry.deed))
            self._start(Flight(entry, doubt=True))
        self._unpriced.set()
        self._tasks.start_soon(self._price)

    def begin(self, deed: Deed, key: str | None) -> Flight:
        """The flight of a deed: a new one, or that of the entry which stands for it. Raises LedgerError."""
        start = self._clock.next()
        entry = self._outbox.enqueue(self._owner, deed, key, start)
        flight = self._flights.get(entry.id)
        if flight is None:
            flight = Flight(entry, doubt=entry.start != start)
            if entry.state == "pending":
                self._start(flight)
        return flight

    async def advance(self, submission: Submission) -> None:
        """One attempt at a submission, in a thread. Raises Unreachable, Refused."""
        client = self._session.client
        try:
            await to_thread.run_sync(
                partial(submission.advance, client), abandon_on_cancel=True, limiter=self._threads
            )
        except Unreachable as error:
            if not isinstance(error, Busy):
                self._session.renew(client)
            raise

    def passing(
        self, transaction: Transaction, cost: Tinybar, signers: Sequence[SigningKey] = ()
    ) -> tuple[Submission, str]:
        """A transaction that is not kept, under the next id; its cost counts. Raises LedgerError."""
        start = self._clock.next()
        self._outbox.note(start, cost)
        transaction.set_transaction_id(self._session.transaction_id(start))
        return Submission(transaction, signers), self.transaction_id(start)

    def transaction_id(self, start: Nanoseconds) -> str:
        """A transaction's id as mirrors write it."""
        seconds, nanos = divmod(start, SECOND)
        return f"{self._account}-{seconds}-{nanos:09}"

    def _start(self, flight: Flight) -> None:
        self._flights[flight.entry.id] = flight
        self._tasks.start_soon(self._fly, flight)

    async def _fly(self, flight: Flight) -> None:
        """Attempt after attempt, until the entry is settled."""
        try:
            await self._settle(flight)
        except anyio.get_cancelled_exc_class():
            flight.trouble = LedgerError("the account was closed before the network answered; open it again")
            flight.pause = math.inf
            raise
        finally:
            del self._flights[flight.entry.id]
            flight.tell()
        self._unpriced.set()

    async def _settle(self, flight: Flight) -> None:
        submission = self._submission(flight.entry)
        pause = _FIRST_PAUSE
        while True:
            before = flight.entry.start
            flight.pause = 0.0
            try:
                await self._attempt(flight, submission)
            except LedgerError as error:
                flight.trouble = error
                flight.pause = max(pause, self._until_known(flight, error))
                pause = min(2 * pause, _LONGEST_PAUSE)
            if flight.entry.state != "pending":
                return
            if flight.entry.start != before:
                submission = self._submission(flight.entry)
            flight.tell()
            await anyio.sleep(flight.pause)

    def _submission(self, entry: Entry) -> Submission:
        transaction = transaction_of(entry.deed, self._account)
        transaction.set_transaction_id(self._session.transaction_id(entry.start))
        return Submission(transaction)

    async def _attempt(self, flight: Flight, submission: Submission) -> None:
        """Settle the entry, or say what stands in the way. Raises LedgerError."""
        entry = flight.entry
        if self._now() >= _last_call(entry) or await self._is_broken(entry):
            await self._look_back(flight)
            return
        try:
            await self.advance(submission)
        except Refused as error:
            self._judge(flight, error)
        except Unreachable:
            flight.doubt = True
            raise
        else:
            if entry.deed.chunks > 1 and self._now() >= entry.start + CHUNK_WINDOW:
                # All of it is there; whether it was there in time for the readers, only its times tell.
                await self._look_back(flight)
            else:
                flight.entry = self._outbox.settle(entry, "done", "SUCCESS")

    async def _is_broken(self, entry: Entry) -> bool:
        """Whether some chunks arrived so long ago that readers will not wait for the others. Raises LedgerError."""
        if entry.deed.chunks == 1 or self._now() < entry.start + CHUNK_WINDOW - _MARGIN:
            return False
        times = [outcome[1] for outcome in await self._shown(entry) if outcome is not None]
        return bool(times) and self._now() >= min(times) + CHUNK_WINDOW - _MARGIN

    def _judge(self, flight: Flight, error: Refused) -> None:
        """What a refusal means for the entry. Raises it when the entry is not settled by it."""
        if error.at_consensus and error.status in RENEWABLE:
            # One chunk that failed makes the message one that never was, so all of it may go again.
            self._renew(flight)
            raise error
        if not error.at_consensus and flight.doubt:
            # A node that refuses what it has never seen says nothing of what another one took before.
            raise error
        flight.entry = self._outbox.settle(flight.entry, "refused", error.status)
        if not error.at_consensus and flight.entry.deed.chunks == 1:
            self._outbox.price(flight.entry, Tinybar(0))

    def _until_known(self, flight: Flight, error: LedgerError) -> float:
        """Seconds until another attempt can say more: after a doubtful refusal, when the id's time is over."""
        if not (isinstance(error, Refused) and flight.doubt):
            return 0.0
        return max(0.0, (_last_call(flight.entry) - self._now()) / SECOND)

    def _renew(self, flight: Flight) -> None:
        flight.entry = self._outbox.renew(flight.entry, self._clock.next())
        flight.doubt = False

    async def _look_back(self, flight: Flight) -> None:
        """Learn from the mirror what became of an entry that is too old to be sent. Raises LedgerError."""
        entry = flight.entry
        shown = await self._shown(entry)
        if self._settled(flight, shown):
            return
        over = Nanoseconds(entry.start + LIFETIME)
        if self._now() < over + _AFTERLIFE:
            raise Busy("the network is silent about it, and it may still take effect")
        await self._mark_after(over)
        if not self._settled(flight, await self._shown(entry)):
            log.warning("%s did not take effect; it is sent under a new id", described(entry.deed))
            self._renew(flight)

    def _settled(self, flight: Flight, shown: list[tuple[str, Nanoseconds] | None]) -> bool:
        """Whether what the mirror shows of an entry's transactions, one by one, decides it."""
        known = [outcome for outcome in shown if outcome is not None]
        failed = [result for result, _ in known if result != "SUCCESS" and result not in RENEWABLE]
        if failed:
            flight.entry = self._outbox.settle(flight.entry, "refused", failed[0])
            return True
        times = [time for result, time in known if result == "SUCCESS"]
        if len(times) < len(shown) or max(times) - min(times) > CHUNK_WINDOW:
            return False
        flight.entry = self._outbox.settle(flight.entry, "done", "SUCCESS")
        return True

    async def _shown(self, entry: Entry) -> list[tuple[str, Nanoseconds] | None]:
        """Result and consensus time of each of an entry's transactions, where the mirror has it."""
        found: list[tuple[str, Nanoseconds] | None] = []
        for number in range(entry.deed.chunks):
            raw = await self._mirror.transaction(self.transaction_id(Nanoseconds(entry.start + number)))
            own = [
                each for each in raw if not each.get("nonce") and each["result"] != "DUPLICATE_TRANSACTION"
            ]
            found.append((str(own[0]["result"]), nanoseconds(own[0]["consensus_timestamp"])) if own else None)
        return found

    async def _mark_after(self, time: Nanoseconds) -> None:
        """Have the mirror show a marker of ours that took effect after a time. Raises LedgerError."""
        while self._marked <= time:
            if self._marking is not None:
                await self._marking.wait()
                continue
            self._marking = anyio.Event()
            try:
                self._marked = await self._mark()
            finally:
                self._marking.set()
                self._marking = None
            if self._marked <= time:
                raise Busy("this machine's clock is ahead of the network's; synchronise it")

    async def _mark(self) -> Nanoseconds:
        """Send a transaction that does next to nothing; its consensus time, once the mirror shows it."""
        deed = Payment(_MARKED, Tinybar(1), "roundabout marker")
        submission, marker = self.passing(transaction_of(deed, self._account), cost_cap(deed))
        try:
            await self.advance(submission)
        except Refused as error:
            if not error.at_consensus:
                self._outbox.refund(cost_cap(deed))
            raise
        with anyio.move_on_after(_MARKER_PATIENCE):
            while True:
                shown = await self._mirror.transaction(marker)
                if shown:
                    return nanoseconds(shown[0]["consensus_timestamp"])
                await anyio.sleep(_FIRST_PAUSE)
        raise Unreachable("the mirror is behind")

    async def _price(self) -> None:
        """Replace what settled entries could have cost by what they did, as the mirror shows it."""
        pause = _PRICE_PAUSE
        while True:
            await self._unpriced.wait()
            self._unpriced = anyio.Event()
            try:
                priced = [await self._price_one(entry) for entry in self._outbox.unpriced(self._owner)]
            except LedgerError as error:
                log.debug("fees are not known yet: %s", error)
                priced = [False]
            if not all(priced):
                self._unpriced.set()
            pause = _PRICE_PAUSE if any(priced) else min(2 * pause, _LONGEST_PRICE_PAUSE)
            await anyio.sleep(pause)

    async def _price_one(self, entry: Entry) -> bool:
        """Whether the mirror shows all of an entry's fees, which then count."""
        fees = 0
        for number in range(entry.deed.chunks):
            raw = await self._mirror.transaction(self.transaction_id(Nanoseconds(entry.start + number)))
            if not raw:
                return False
            fees += sum(int(each.get("charged_tx_fee", 0)) for each in raw)
        self._outbox.price(entry, Tinybar(fees))
        return True


def transaction_of(deed: Deed, payer: AccountId) -> Transaction:
    """The transaction that does a deed, the same one every time but for its id."""
    if isinstance(deed, Message):
        transaction = TopicMessageSubmitTransaction(
            SdkTopic.from_string(deed.topic), deed.body, chunk_size=CHUNK
        )
    else:
        transaction = TransferTransaction()
        transaction.add_hbar_transfer(SdkAccount.from_string(payer), -deed.amount)
        transaction.add_hbar_transfer(SdkAccount.from_string(deed.to), int(deed.amount))
        transaction.set_transaction_memo(deed.memo)
    transaction.transaction_fee = int(FEE_CAP)
    return transaction


def described(deed: Deed) -> str:
    """A deed in a few words, as an attempt at it."""
    return f"write to topic {deed.topic}" if isinstance(deed, Message) else f"transfer to {deed.to}"


def _last_call(entry: Entry) -> int:
    """From when on an entry's transactions may come too late to take effect."""
    return entry.start + LIFETIME - _MARGIN
