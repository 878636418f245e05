"""What must be true of a run after all that was done to it: nobody contradicted itself, and all agree."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass

import anyio

from protocol.fields import canonical
from protocol.ids import Nanoseconds, Signature
from protocol.parse import parse_record
from protocol.records import (
    AddressRecord,
    PassRecord,
    PresentRecord,
    ProposalEntry,
    ProposeRecord,
    VerdictRecord,
    VoteRecord,
)
from protocol.state import Ending, RunState
from tests.e2e.conftest import roundabout
from tests.topic_reading import Told
from tests.trials.trial import PATIENCE, Trial

DECIDED = ("accepted", "rejected", "neutral")
Signed = tuple[int, int, str]
"""Round, place, slot in the journal."""


@dataclass(frozen=True)
class RoundOf:
    """One round, as consensus saw it."""

    number: int
    proposer: int
    ending: Ending
    opened: Nanoseconds
    deadline: Nanoseconds
    closed: Nanoseconds
    head: str
    """After it."""


def rounds_of(told: list[Told]) -> list[RoundOf]:
    """All rounds that have been closed, in order."""
    found: list[RoundOf] = []
    before: RunState | None = None
    opened = Nanoseconds(0)
    for each in told:
        state = each.state
        if state is None or each.error is not None:
            continue
        last = state.last
        was_open = None if before is None else before.open
        if was_open is not None and last is not None and last.number == was_open.number:
            times = (opened, was_open.deadline, last.time)
            found.append(RoundOf(last.number, last.proposer, last.ending, *times, state.head))
        if was_open is None or (state.open is not None and state.open.number != was_open.number):
            opened = each.message.stamp.time
        before = state
    return found


def signatures(told: list[Told], state: RunState) -> dict[Signed, set[Signature]]:
    """Every signature of a daemon's that ever reached the topic, also in vain."""
    found: dict[Signed, set[Signature]] = defaultdict(set)

    def note_proposal(entry: ProposalEntry) -> None:
        found[entry.round, entry.proposer, "turn"].add(entry.sig)

    places = {member.account: place for place, member in enumerate(state.roster)}
    for each in told:
        record = parse_record(each.message.body)
        match record:
            case VerdictRecord() | VoteRecord() | ProposeRecord():
                note_proposal(record.proposal)
                votes = record.votes if isinstance(record, VerdictRecord) else ()
                for voter, _, _, sig in (record.vote,) if isinstance(record, VoteRecord) else votes:
                    found[record.proposal.round, voter, "vote"].add(sig)
            case PassRecord():
                found[record.body.round, places[each.message.payer], "turn"].add(record.sig)
            case PresentRecord():
                found[record.body.round, record.body.member, "present"].add(record.sig)
            case AddressRecord():
                found[record.body.round, record.body.member, "address"].add(record.sig)
            case _:
                assert record.op in ("genesis", "close"), f"{record.op}: {canonical(record)!r}"
    return found


def check_signatures(run: Trial, told: list[Told]) -> int:
    """Nobody signed two things in one place of a round, and what it signed is in its journal; how many there are."""
    state = told[-1].state
    assert state is not None
    found = signatures(told, state)
    twice = {where: sigs for where, sigs in found.items() if len(sigs) > 1}
    assert not twice, f"a member contradicted itself: {twice}"
    journals = {place: journal(run, place) for place in range(run.size)}
    for (number, place, slot), (sig,) in found.items():
        noted = journals[place].get((number, slot))
        assert noted == sig, f"{place} sent a {slot} in round {number} that is not in its journal"
    assert not state.seats.expelled
    assert not [each.error for each in told if each.is_invalid], "an honest daemon wrote something invalid"
    return len(found)


def journal(run: Trial, place: int) -> dict[tuple[int, str], Signature]:
    """What a daemon's journal says that it signed, by round and slot."""
    path = run.data(place) / "journal.db"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT round, slot, message FROM signed").fetchall()
    return {(number, slot): Signature(message[:86].decode()) for number, slot, message in rows}


def decided_between(rounds: list[RoundOf], start: Nanoseconds, end: Nanoseconds) -> list[RoundOf]:
    """The rounds that both opened and closed between two moments; each must have been decided."""
    inside = [each for each in rounds if start <= each.opened and each.closed <= end]
    assert all(each.ending in DECIDED for each in inside), inside
    return inside


async def check_agreement(run: Trial, told: list[Told]) -> None:
    """The auditor is content, and all daemons have come to the same head in every round that they closed."""
    audited = await anyio.to_thread.run_sync(
        roundabout, "audit", "--topic", run.topic, "--mirror", run.network.mirror_rest
    )
    assert audited.returncode == 0, audited.stdout + audited.stderr
    heads = {each.number: each.head for each in rounds_of(told)}
    for place in range(run.size):
        closed = [event for event in run.events(place) if event["event"] == "round closed"]
        assert closed, f"daemon {place} never closed a round"
        for event in closed:
            assert heads.get(event["round"], event["head"]) == event["head"], (place, event)


def decisions(state: RunState) -> int:
    """How many rounds have been decided."""
    return state.totals.accepted + state.totals.rejected + state.totals.neutral


async def more_decisions(run: Trial, count: int) -> None:
    """Wait until so many more rounds have been decided."""
    before = decisions(await run.state())
    await run.until(lambda state: decisions(state) >= before + count, PATIENCE)


async def until_all_proposed(run: Trial, since: Nanoseconds, *places: int) -> list[RoundOf]:
    """Wait until a proposal of each member, or of some, in a round that opened since then, was decided.

    The rounds since then, up to the last of those.
    """
    missing = set(places) or set(range(run.size))
    with anyio.fail_after(PATIENCE):
        while True:
            wanted, found = set(missing), []
            for each in rounds_of(await run.told()):
                if each.opened < since:
                    continue
                found.append(each)
                if each.ending in DECIDED:
                    wanted.discard(each.proposer)
                if not wanted:
                    return found
            await anyio.sleep(0.5)
