"""Checking a run from what a mirror says alone: history, signatures, turns, tallies, money (SPEC.md, fold).

Needs neither the Hedera SDK nor torch. The state is the same fold that every daemon computes.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ledger.book import Book
from ledger.chunks import Dropped, History
from ledger.compare import Comparison
from ledger.evidence import Check, Evidence
from ledger.holding import Holding, HoldingCheck, check_holding
from ledger.money_report import event_entry, money_part, str_time
from ledger.pages import RawEntry
from ledger.participants import absent_from, credited, participants
from ledger.topic import HistoryBroken, TopicMessage
from protocol.errors import Ignore, Invalid
from protocol.fields import Model
from protocol.fold import Found, apply, lookup, read
from protocol.ids import Nanoseconds, PublicKey, TopicId
from protocol.motions import FaultRecord
from protocol.parse import Record, parse_record
from protocol.records import PassRecord
from protocol.signing import Checker, checked_by, holds
from protocol.state import ClosedRound, RunState
from protocol.transfers import Lookup, TransactionId

Find = Callable[[Lookup], Found]
"""Where transactions are looked up that records name: a saved history, or what a mirror was asked before."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a message on the topic, the treasury, or the mirror itself, breaks."""

    sequence: int | None
    """The sequence number of the message; None for what the treasury did on the ledger."""
    reason: str
    transaction: TransactionId | None = None
    """Of the treasury, where it is one."""

    def __str__(self) -> str:
        return self.reason if self.sequence is None else f"message {self.sequence}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Passed:
    """A message without effect that breaks no rule: another application's, stale, or incomplete."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of one message after a state."""

    message: TopicMessage
    record: Record | None
    """None where the message is no record, or where no run has begun."""
    after: RunState | None
    fault: Ignore | Invalid | None
    """Why it has no effect; None where it has."""
    checks: tuple[Check, ...]
    """The signatures that the fold asked about, in order."""


def is_record(raw: bytes) -> bool:
    """Whether some bytes are a record."""
    try:
        parse_record(raw)
    except (Ignore, Invalid):
        return False
    return True


def nothing(wanted: Lookup) -> Found:
    """What there is to be found of money in a history without transactions."""
    return ()


def judge(state: RunState | None, message: TopicMessage, checker: Checker, find: Find = nothing) -> Judged:
    """What becomes of a message after a state, given who says whether signatures hold, and who knows transactions."""
    checks: list[Check] = []

    def check(kind: str, body: Model, key: PublicKey, digest: bytes, signature: bytes) -> bool:
        checks.append((body, key, digest, signature))
        return checker(kind, body, key, digest, signature)

    stamp = message.stamp
    record: Record | None = None
    try:
        with checked_by(check):
            if state is None:
                return Judged(message, None, read(None, message.topic, message.body, stamp), None, ())
            record = parse_record(message.body)
            wanted = lookup(state, record, stamp)
            found = () if wanted is None else find(wanted)
            return Judged(message, record, apply(state, record, stamp, found), None, tuple(checks))
    except (Ignore, Invalid) as fault:
        return Judged(message, record, state, fault, tuple(checks))


@dataclass(slots=True)
class Audit:
    """A run being checked, message by message, in order."""

    topic: TopicId
    find: Find = nothing
    state: RunState | None = None
    messages: int = 0
    """Entries read, chunks included."""
    rounds: list[ClosedRound] = field(default_factory=list)
    """Every closed round, with the votes that came late for it."""
    violations: list[Violation] = field(default_factory=list)
    ignored: list[Passed] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    """Members that contradicted themselves: what the fold allows for is no violation of the history."""
    book: Book = field(default_factory=Book)
    """What records did to money and members."""
    holding: Holding | None = None
    """The treasury as the ledger shows it; None where it was not read."""
    checked: HoldingCheck | None = None
    """How it compares with the fold; known when the audit is finished."""
    waiting: deque[TopicMessage | Dropped] = field(default_factory=deque)
    """Read from the history, and not judged yet."""
    began: Nanoseconds | None = None
    """Consensus time of the genesis record."""
    broken: bool = False
    """The history does not chain: nothing after that point is believed."""
    compared: Comparison | None = None
    """How far another mirror says the same; None where none was asked."""
    history: History = field(init=False)
    """Where in the topic it stands."""

    def __post_init__(self) -> None:
        self.history = History(self.topic)

    def add(self, entry: RawEntry) -> None:
        """Check the next entry that the mirror returned."""
        if self.broken:
            return
        try:
            results = self.read(entry)
        except HistoryBroken as error:
            self.break_off(error)
            return
        for result in results:
            self.take(result if isinstance(result, Dropped) else judge(self.state, result, holds, self.find))

    def read(self, entry: RawEntry) -> tuple[TopicMessage | Dropped, ...]:
        """The next entry's part in the history, not judged yet. Raises HistoryBroken."""
        self.messages += 1
        return self.history.add(entry)

    def break_off(self, error: HistoryBroken) -> None:
        """Believe nothing from here on."""
        self.broken = True
        self.violations.append(Violation(self.history.sequence + 1, str(error)))

    def take(self, found: "Judged | Dropped") -> None:
        """Take over what has become of the next message."""
        if isinstance(found, Dropped):
            self._drop(found)
            return
        sequence = found.message.sequence
        if self.state is None and found.after is not None:
            self.began = found.message.time
        is_plain = found.fault is None and not isinstance(found.record, PassRecord | FaultRecord)
        if is_plain:
            self.evidence.take_verified(found.checks, sequence)
        elif self.state is not None and found.record is not None:
            self.evidence.take(self.state, found.record, sequence)
        before, self.state = self.state, found.after
        if isinstance(found.fault, Ignore):
            self.ignored.append(Passed(sequence, str(found.fault)))
        elif found.fault is not None:
            self.violations.append(Violation(sequence, f"{found.fault} (paid by {found.message.payer})"))
        elif self.state is not None:
            if before is not None and found.record is not None:
                self.book.take(before, found.record, self.state, found.message.stamp)
            self._note(self.state.last)

    def take_comparison(self, compared: Comparison) -> None:
        """Take over what another mirror says of the same history."""
        self.compared = compared
        if compared.differs:
            reason = f"the mirror at {compared.url} has another message here; ask a third mirror which of them lies"
            self.violations.append(Violation(compared.messages + 1, reason))

    def finish(self) -> None:
        """What can be said only at the end of the history."""
        for dropped in self.history.unfinished():
            self._drop(dropped)
        if self.state is None and not self.broken:
            self.violations.append(Violation(1, "no genesis record: this topic holds no run"))
        if self.state is None or self.holding is None or self.holding.cut < self.history.time or self.broken:
            return
        self.checked = check_holding(self.state, self.holding, self.book)
        self.violations += [Violation(None, f.reason, f.transaction) for f in self.checked.faults]

    def _drop(self, dropped: Dropped) -> None:
        # No hash covers chunk information, so that a mirror can hide a message in it. No chunk is a record alone.
        if any(map(is_record, dropped.parts)):
            reason = "a whole record that is said to be a chunk, which hides it; compare with another mirror"
            self.violations.append(Violation(dropped.sequence, reason))
        else:
            self.ignored.append(Passed(dropped.sequence, f"dropped: {dropped.reason}"))

    @property
    def sequence(self) -> int:
        """The sequence number of the last entry that holds."""
        return self.history.sequence

    @property
    def anchored(self) -> int:
        """The sequence number up to which a proposal has signed the history; 0 without one."""
        proposals = [closed.proposal for closed in reversed(self.rounds)]
        if self.state is not None and self.state.open is not None:
            proposals = [*self.state.open.proposals, *proposals]
        return next((signed.body.opening.sequence for signed in proposals if signed is not None), 0)

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return self.state is not None and not self.violations

    def _note(self, last: ClosedRound | None) -> None:
        if last is None:
            return
        if self.rounds and self.rounds[-1].number == last.number:
            self.rounds[-1] = last
        else:
            self.rounds.append(last)


def audit(topic: TopicId, entries: Iterable[RawEntry], find: Find = nothing) -> Audit:
    """Check the whole of a topic from its first message. Raises LedgerError when transactions are malformed."""
    result = Audit(topic, find)
    for entry in entries:
        result.add(entry)
    result.finish()
    return result


def report(result: Audit) -> dict[str, Any]:
    """What the audit found, as plain JSON values; amounts in tinybar, gains in ppm (docs/audit.md)."""
    state = result.state
    totals = dict.fromkeys(("accepted", "rejected", "neutral", "closed", "passed"), 0)
    if state is not None:
        totals = {name: getattr(state.totals, name) for name in totals}
    return {
        "ok": result.ok,
        "run": None if state is None else state.run,
        "topic": result.topic,
        "rounds": sum(totals.values()),
        **totals,
        "violations": [asdict(violation) for violation in result.violations],
        "ignored": [{"sequence": p.sequence, "reason": p.reason} for p in result.ignored],
        "messages": result.messages,
        "anchored": result.anchored,
        "compared": None if result.compared is None else asdict(result.compared),
        "head": None if state is None else state.head,
        "credits": {} if state is None else dict(state.money.earned),
        "roster": [] if state is None else [{"peer": m.peer, "account": m.account} for m in state.roster],
        "timeline": []
        if state is None
        else [timeline_entry(closed, result.book) for closed in result.rounds],
        "equivocations": [asdict(proof) for proof in result.evidence.found.values()],
        "participants": [] if state is None else participants(state, result.rounds, result.book),
        "money": {} if state is None else money_part(state, result.book, result.checked),
        "events": [event_entry(event) for event in result.book.events],
        "params": {} if state is None else state.params.model_dump(mode="json"),
        "began": None if result.began is None else str_time(result.began),
    }


def timeline_entry(closed: ClosedRound, book: Book) -> dict[str, Any]:
    """One round of the timeline: who proposed what, who voted how, and what it earned whom."""
    return {
        "round": closed.number,
        "ending": closed.ending,
        "proposer": closed.proposer,
        "candidate": None if closed.proposal is None else closed.proposal.body.candidate,
        "sequence": closed.sequence,
        "time": str_time(closed.time),
        "votes": [
            {
                "voter": vote.body.voter,
                "choice": vote.body.choice.value,
                "gain": vote.body.gain,
                "late": place >= closed.counted,
            }
            for place, vote in enumerate(closed.votes)
        ],
        "absent": sorted(absent_from(closed, book)),
        "credits": dict(credited(closed, book)),
    }
