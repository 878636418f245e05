"""The auditor, against every way in which a history can be wrong: it says so, and names the message."""

import base64
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit import Audit, audit, report
from ledger.pages import nanoseconds
from protocol.errors import ProtocolError
from protocol.fields import Model, canonical
from protocol.fold import read
from protocol.ids import SECOND, AccountId, RunningHash, TopicId, base64url
from protocol.messages import Choice
from protocol.records import Stamp
from protocol.state import RunState
from tests.ledger.chains import TOPIC, Chain, Chunk
from tests.protocol.world import Run, account, blob, genesis, verdict, vote_record

REWARDS = {"reward_proposal": 1_000, "reward_vote": 10}


def stamp_of(entry: dict[str, Any]) -> Stamp:
    running_hash = RunningHash(base64url(base64.b64decode(entry["running_hash"])))
    return Stamp(entry["sequence_number"], nanoseconds(entry["consensus_timestamp"]), running_hash)


class ChainedRun(Run):
    """A run whose records are entries of a mirror that chain."""

    def __init__(self, size: int = 4, **changes: Any) -> None:
        self.chain = Chain()
        super().__init__(size, **(REWARDS | changes))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return self.chain.entries

    def put(self, record: Model | bytes, at: int | None = None) -> RunState:
        raw = record if isinstance(record, bytes) else canonical(record)
        return self.fold(raw, self.chain.add(raw, step=self.step(at)))

    def step(self, at: int | None) -> int:
        """How long after the last message the next one comes: a second, or what a test or a transfer needs."""
        if not self.entries:
            return SECOND
        last = nanoseconds(self.entries[-1]["consensus_timestamp"])
        return max(SECOND, (self.time + SECOND if at is None else at) - last)

    def fold(self, raw: bytes, entry: dict[str, Any]) -> RunState:
        """Take the state over a message that is on the topic."""
        stamp = stamp_of(entry)
        self.time = stamp.time
        found = self.ledger.found(self.state, raw, stamp)
        self.state = read(self.state, TOPIC, raw, stamp, found)
        return self.state

    def put_wrong(self, record: Model | bytes) -> int:
        """A record without effect; its sequence number."""
        before = self.state
        with pytest.raises(ProtocolError):
            self.put(record)
        assert self.state is before
        return len(self.entries)


def played(run: ChainedRun) -> ChainedRun:
    """Accepted with a late vote, rejected, passed, closed without a proposal, accepted: 6 entries."""
    proposal = run.proposal()
    votes = run.votes(proposal, *[Choice.APPROVE] * 3)
    run.put(verdict(proposal, votes[:2], "accepted"))
    run.put(vote_record(proposal, votes[2]))
    proposal = run.proposal()
    run.put(verdict(proposal, run.votes(proposal, *[Choice.REJECT] * 3), "rejected"))
    run.put(run.pass_turn())
    run.expire()
    run.accept()
    return run


PLAYED = played(ChainedRun())
ENTRIES = PLAYED.entries


def broken_at(entries: list[dict[str, Any]]) -> int:
    """The message at which a history breaks; before it nothing else may be found wrong."""
    found = audit(TOPIC, entries)
    assert not found.ok
    assert found.broken
    (violation,) = found.violations
    assert found.messages == violation.sequence, "nothing after the break is believed"
    return violation.sequence


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    entries = deepcopy(ENTRIES)
    entries[index].update(fields)
    return entries


def test_a_history_that_holds() -> None:
    found = report(audit(TOPIC, ENTRIES))
    assert found["ok"] is True
    assert found["violations"] == found["ignored"] == []
    assert found["messages"] == len(ENTRIES) == 7
    assert found["run"] == PLAYED.genesis.run()
    assert found["topic"] == TOPIC
    assert found["head"] == PLAYED.now.head == blob("candidate 5")
    counts = {name: found[name] for name in ("accepted", "rejected", "neutral", "closed", "passed")}
    assert counts == {"accepted": 2, "rejected": 1, "neutral": 0, "closed": 1, "passed": 1}
    assert found["rounds"] == 5
    assert found["credits"] == dict(PLAYED.now.money.earned)
    assert found["roster"] == [{"peer": m.peer, "account": m.account} for m in PLAYED.genesis.roster]
    assert [entry["ending"] for entry in found["timeline"]] == [
        "accepted", "rejected", "passed", "closed", "accepted",
    ]  # fmt: skip
    assert [entry["sequence"] for entry in found["timeline"]] == [2, 4, 5, 6, 7]
    assert found["timeline"][0]["candidate"] == blob("candidate 1")
    assert found["timeline"][2]["candidate"] is None
    assert found["timeline"][0]["time"] == ENTRIES[1]["consensus_timestamp"]


def test_votes_that_came_late_are_shown_as_late() -> None:
    first = report(audit(TOPIC, ENTRIES))["timeline"][0]
    assert [vote["late"] for vote in first["votes"]] == [False, False, True]
    assert len({vote["voter"] for vote in first["votes"]}) == 3
    assert {vote["choice"] for vote in first["votes"]} == {"approve"}


def test_the_report_is_plain_json() -> None:
    for entries in (ENTRIES, ENTRIES[:1], ENTRIES[1:], []):
        found = report(audit(TOPIC, entries))
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_beginning_of_the_history_is_audited_as_far_as_it_goes() -> None:
    found = report(audit(TOPIC, ENTRIES[:2]))
    assert (found["ok"], found["rounds"], found["head"]) == (True, 1, blob("candidate 1"))


@given(
    st.integers(0, len(ENTRIES) - 1),
    st.sampled_from(["message", "running_hash"]),
    st.integers(0, 10**6),
    st.integers(0, 7),
)
@settings(max_examples=300, deadline=None)
def test_one_changed_bit_is_found_and_named(index: int, field: str, place: int, bit: int) -> None:
    data = bytearray(base64.b64decode(ENTRIES[index][field]))
    data[place % len(data)] ^= 1 << bit
    assert broken_at(changed(index, **{field: base64.b64encode(data).decode()})) == index + 1


@given(st.integers(0, len(ENTRIES) - 1), st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_an_inserted_byte_is_found_and_named(index: int, place: int, more: bytes) -> None:
    data = base64.b64decode(ENTRIES[index]["message"])
    at = place % (len(data) + 1)
    longer = base64.b64encode(data[:at] + more + data[at:]).decode()
    assert broken_at(changed(index, message=longer)) == index + 1


@pytest.mark.parametrize("index", range(len(ENTRIES)))
@pytest.mark.parametrize("place", range(20))
def test_a_changed_digit_of_the_time_is_found_and_named(index: int, place: int) -> None:
    time = ENTRIES[index]["consensus_timestamp"]
    if time[place] == ".":
        return
    other = time[:place] + str((int(time[place]) + 1) % 10) + time[place + 1 :]
    assert broken_at(changed(index, consensus_timestamp=other)) == index + 1


@pytest.mark.parametrize("index", range(len(ENTRIES)))
@pytest.mark.parametrize(
    "fields",
    [
        {"payer_account_id": "0.0.8"},
        {"payer_account_id": "0.1.7"},
        {"payer_account_id": "7"},
        {"sequence_number": 0},
        {"sequence_number": 100},
        {"sequence_number": "1"},
        {"sequence_number": True},
        {"topic_id": "0.0.1002"},
        {"topic_id": None},
        {"running_hash_version": 2},
        {"running_hash": ""},
        {"running_hash": None},
        {"message": None},
        {"message": "!"},
        {"consensus_timestamp": None},
        {"consensus_timestamp": "1800000000"},
        {"consensus_timestamp": "1800000000.0000010000"},
        {"consensus_timestamp": "-1.000000001"},
    ],
)
def test_a_changed_field_is_found_and_named(index: int, fields: dict[str, Any]) -> None:
    assert broken_at(changed(index, **fields)) == index + 1


@pytest.mark.parametrize("field", sorted(set(ENTRIES[0]) - {"chunk_info"}))
def test_a_missing_field_is_found_and_named(field: str) -> None:
    entries = deepcopy(ENTRIES)
    del entries[2][field]
    assert broken_at(entries) == 3


@pytest.mark.parametrize("index", range(len(ENTRIES) - 1))
def test_an_entry_left_out_is_found_and_named(index: int) -> None:
    assert broken_at(ENTRIES[:index] + ENTRIES[index + 1 :]) == index + 1


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_an_entry_given_twice_is_found_and_named(index: int) -> None:
    assert broken_at(ENTRIES[: index + 1] + ENTRIES[index:]) == index + 2


@pytest.mark.parametrize("index", range(len(ENTRIES) - 1))
def test_two_entries_in_the_wrong_order_are_found_and_named(index: int) -> None:
    swapped = [*ENTRIES[:index], ENTRIES[index + 1], ENTRIES[index], *ENTRIES[index + 2 :]]
    assert broken_at(swapped) == index + 1


def test_what_comes_before_the_break_still_counts() -> None:
    found = audit(TOPIC, changed(3, payer_account_id="0.0.8"))
    assert found.state is not None
    assert found.state.head == blob("candidate 1")
    assert report(found)["accepted"] == 1


def test_another_topics_history_is_no_history_of_this_one() -> None:
    assert audit(TopicId("0.0.1002"), ENTRIES).violations[0].sequence == 1


def forged_records(run: ChainedRun) -> dict[str, Model]:
    """Records that a member can write with a correct running hash, and that are false."""
    proposal = run.proposal()
    rejections = run.votes(proposal, *[Choice.REJECT] * 3)
    approvals = run.votes(proposal, *[Choice.APPROVE] * 3)
    other = run.voters[0]
    stolen = run.vote(proposal, run.voters[1], by=other)
    late = run.proposal(opening=run.current.opening.model_copy(update={"sequence": 99}))
    out_of_turn = run.proposal(proposer=other, by=other)
    return {
        "votes say rejected": verdict(proposal, rejections, "accepted"),
        "votes say accepted": verdict(proposal, approvals, "rejected"),
        "votes say undecided": verdict(proposal, approvals[:1], "accepted"),
        "it is the turn of": verdict(out_of_turn, (), "accepted"),
        "not based on the head": verdict(run.proposal(base=blob("else")), (), "accepted"),
        "reads another history": verdict(late, (), "accepted"),
        "signature": verdict(run.proposal(by=other), approvals, "accepted"),
        "sign": verdict(proposal, [approvals[0], stolen, approvals[2]], "accepted"),
        "two votes of one voter": verdict(proposal, [approvals[0], approvals[0]], "accepted"),
        "the proposal is its approval": verdict(
            proposal, [*approvals, run.vote(proposal, run.current.proposer)], "accepted"
        ),
        "a second genesis": run.genesis,
        "is not open": run.close(round=9),
        "of another run": run.close(run=blob("else")),
    }


@pytest.mark.parametrize("reason", sorted(forged_records(ChainedRun())))
def test_a_false_record_is_a_violation_and_changes_nothing(reason: str) -> None:
    run = ChainedRun()
    run.accept()
    sequence = run.put_wrong(forged_records(run)[reason])
    run.accept()
    found = audit(TOPIC, run.entries)
    assert not found.ok
    assert not found.broken
    (violation,) = found.violations
    assert violation.sequence == sequence
    assert reason in violation.reason
    assert "paid by 0.0.7" in violation.reason
    assert report(found)["head"] == blob("candidate 2")
    assert report(found)["accepted"] == 2
    assert report(found)["credits"] == dict(run.now.money.earned)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"p":"roundabout","v":1}',
        b'{"op":"verdict","p":"roundabout","v":1}',
        b'{"op":"close", "p":"roundabout","v":1}',
        b'{"op":"mint","p":"roundabout","v":1}',
    ],
)
def test_a_malformed_record_of_ours_is_a_violation(raw: bytes) -> None:
    run = ChainedRun()
    sequence = run.put_wrong(raw)
    (violation,) = audit(TOPIC, run.entries).violations
    assert violation.sequence == sequence
    assert "malformed record" in violation.reason
    assert "\n" not in violation.reason


def test_what_is_not_ours_is_listed_and_breaks_nothing() -> None:
    run = ChainedRun()
    junk = [b"\x00\xff", b"hello", b"[]", b"null", b'{"p":"hcs-20","op":"mint"}', b'{"p":"roundabout","v":2}']
    junk += [b"[" * 5_000, b"9" * 5_000, b"x" * 1_024]
    sequences = [run.put_wrong(raw) for raw in junk]
    run.accept()
    found = report(audit(TOPIC, run.entries))
    assert found["ok"] is True
    assert [entry["sequence"] for entry in found["ignored"]] == sequences
    assert all(entry["reason"].startswith("a foreign message") for entry in found["ignored"])
    assert found["head"] == blob("candidate 1")


def test_what_comes_too_late_is_listed_and_breaks_nothing() -> None:
    run = ChainedRun()
    proposal = run.proposal()
    record = verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 3), "accepted")
    run.put(record)
    sequence = run.put_wrong(record)
    found = report(audit(TOPIC, run.entries))
    assert (found["ok"], found["accepted"]) == (True, 1)
    assert [entry["sequence"] for entry in found["ignored"]] == [sequence]


def test_a_topic_without_a_genesis_holds_no_run() -> None:
    chain = Chain()
    chain.add(b"hello")
    found = report(audit(TOPIC, chain.entries))
    assert found["ok"] is False
    assert "no genesis record" in found["violations"][0]["reason"]
    assert found["run"] is found["head"] is None
    assert found["credits"] == {}
    assert found["timeline"] == found["roster"] == []
    assert not audit(TOPIC, []).ok


def test_records_before_the_genesis_have_no_effect() -> None:
    run = ChainedRun()
    close = canonical(run.close())
    chain = Chain()
    chain.add(close)
    chain.add(canonical(run.genesis))
    found = report(audit(TOPIC, chain.entries))
    assert found["ok"] is True
    assert [entry["sequence"] for entry in found["ignored"]] == [1]


def test_a_genesis_copied_from_another_topic_founds_nothing() -> None:
    chain = Chain()
    chain.add(canonical(genesis(4, topic=TopicId("0.0.1002"))))
    found = audit(TOPIC, chain.entries)
    assert found.state is None
    assert "0.0.1002" in found.violations[0].reason


def test_a_genesis_in_chunks_is_put_together() -> None:
    raw = canonical(genesis(6))
    parts = [raw[start : start + 400] for start in range(0, len(raw), 400)]
    chain = Chain()
    chain.add(parts[0], chunk=Chunk(1, 1, len(parts)))
    chain.add(b"hello")
    for number, part in enumerate(parts[1:], start=2):
        chain.add(part, chunk=Chunk(1, number, len(parts)))
    found = report(audit(TOPIC, chain.entries))
    assert found["ok"] is True
    assert found["run"] == genesis(6).run()
    assert [entry["sequence"] for entry in found["ignored"]] == [2]
    assert found["messages"] == len(parts) + 1


def test_a_message_whose_chunks_are_missing_is_listed() -> None:
    run = ChainedRun()
    run.chain.add(b"half of", chunk=Chunk(2, 1, 2))
    found = report(audit(TOPIC, run.entries))
    assert found["ok"] is True
    assert [entry["sequence"] for entry in found["ignored"]] == [2]
    assert "its other chunks are missing" in found["ignored"][0]["reason"]


def test_another_payers_chunk_completes_nobodys_message() -> None:
    raw = canonical(genesis(4))
    chain = Chain()
    chain.add(raw[:500], chunk=Chunk(1, 1, 2))
    chain.add(raw[500:], payer=AccountId("0.0.9"), chunk=Chunk(1, 2, 2))
    found = audit(TOPIC, chain.entries)
    assert found.state is None
    assert not found.ok


def test_an_audit_can_be_fed_entry_by_entry() -> None:
    one = Audit(TOPIC)
    for entry in ENTRIES:
        one.add(entry)
    one.finish()
    assert report(one) == report(audit(TOPIC, ENTRIES))
    assert {m.account for m in PLAYED.genesis.roster} == {account(place) for place in range(4)}
