"""Watching a run from outside: the topic through the mirror, and what each daemon logs about itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from ledger.follow import follow
from ledger.lookup import MirrorTransfers
from ledger.mirror import Mirror
from ledger.topic import LedgerError
from node.demo.layout import Layout
from node.demo.processes import read_events
from node.reader import find
from protocol.errors import ProtocolError
from protocol.fold import read
from protocol.ids import AccountId, Digest, Tinybar, TopicId
from protocol.money import Settlement
from protocol.state import ClosedRound, RunState

LAST_PAYMENTS_SECONDS = 60.0
"""How long it is waited, after the last round, for everybody to be paid."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What one learner found of one candidate, in ppm."""

    place: int
    round: int
    head: int
    candidate: int
    gain: int
    choice: str


@dataclass(slots=True)
class Standing:
    """What is known of the run so far."""

    started: float
    """anyio's clock when the run began."""
    state: RunState | None = None
    rounds: list[ClosedRound] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict)
    """When each round closed, since the start."""
    scorings: list[Scoring] = field(default_factory=list)
    labels: dict[int, int] = field(default_factory=dict)
    """Labels collected so far, by place."""
    balances: dict[AccountId, int] = field(default_factory=dict)
    lap_success: dict[Digest, Mapping[str, float]] = field(default_factory=dict)
    """Lap success of heads on held-out tracks, by family."""

    @property
    def total_labels(self) -> int:
        """Labels collected by all."""
        return sum(self.labels.values())

    @property
    def paid_out(self) -> bool:
        """Whether the run has ended and nothing is owed to anybody any more."""
        money = None if self.state is None else self.state.money
        return self.ended and money is not None and money.wound_up and not money.owed

    @property
    def ended(self) -> bool:
        """Whether the last round has closed."""
        return self.state is not None and self.state.open is None


async def watch_topic(
    mirror: Mirror,
    topic: TopicId,
    standing: Standing,
    on_round: Callable[[], None],
    on_payment: Callable[[Settlement, Tinybar], None],
) -> None:
    """Fold the topic until the run has ended and everybody is paid; on_payment: a settlement and its fee."""
    transfers = MirrorTransfers(mirror)
    with anyio.CancelScope() as scope:
        async for message in follow(mirror, topic):
            if message is None:
                continue
            stamp = message.stamp
            before = standing.state
            found = await find(transfers, before, message.body, stamp)
            try:
                standing.state = read(before, topic, message.body, stamp, found)
            except ProtocolError:
                continue  # the auditor names these; here we only watch
            _note_round(standing, on_round)
            if before is not None and before.money.paid != standing.state.money.paid:
                assert before.money.settlement is not None, "what is paid was to be paid"
                fee = Tinybar(standing.state.money.fees - before.money.fees)
                on_payment(before.money.settlement, fee)
            if standing.paid_out:
                return
            if standing.ended:
                scope.deadline = min(scope.deadline, anyio.current_time() + LAST_PAYMENTS_SECONDS)


def _note_round(standing: Standing, on_round: Callable[[], None]) -> None:
    last = None if standing.state is None else standing.state.last
    if last is None:
        return
    if standing.rounds and standing.rounds[-1].number == last.number:
        standing.rounds[-1] = last
        return
    standing.rounds.append(last)
    standing.seconds[last.number] = anyio.current_time() - standing.started
    on_round()


async def watch_logs(layout: Layout, places: int, standing: Standing) -> None:
    """Read what each daemon logs of its own learner: labels, and scores of candidates."""
    offsets = [0] * places
    while True:
        for place in range(places):
            offsets[place] = read_log(layout, place, offsets[place], standing)
        await anyio.sleep(0.5)


def read_log(layout: Layout, place: int, offset: int, standing: Standing) -> int:
    """Take in one daemon's new events; the offset after them."""
    events, offset = read_events(layout.log(f"node-{place}"), offset)
    for event in events:
        _take_event(place, event, standing)
    return offset


def _take_event(place: int, event: dict[str, Any], standing: Standing) -> None:
    if event.get("event") == "trained":
        standing.labels[place] = int(event["labels_total"])
    elif event.get("event") == "scored":
        standing.scorings.append(
            Scoring(
                place,
                int(event["round"]),
                int(event["head"]),
                int(event["candidate"]),
                int(event["gain"]),
                str(event["choice"]),
            )
        )


async def watch_balances(mirror: Mirror, standing: Standing) -> None:
    """Ask the mirror for the members' balances now and then."""
    while True:
        for member in () if standing.state is None else standing.state.roster:
            try:
                standing.balances[member.account] = (await mirror.account(member.account)).balance.balance
            except LedgerError:
                break  # shown when it is back; the run itself does not depend on it
        await anyio.sleep(2.0)
