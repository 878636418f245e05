"""An audit that runs ahead of its signatures says what one says that checks each in its turn."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import ahead
from ledger import verifiers as pool
from ledger.ahead import Ahead, add_all
from ledger.audit import Audit, audit, judge, report
from ledger.checkpoint import body_of
from ledger.pages import RawEntry
from ledger.topic import LedgerError, TopicMessage
from ledger.verifier import COUNT_BYTES, ROW, check, serve
from ledger.verifiers import Verifiers
from protocol.errors import ProtocolError
from protocol.ids import Signature, base64url
from protocol.messages import Choice, Vote
from protocol.signing import holds
from tests.ledger.chains import TOPIC, Chain
from tests.ledger.test_audit import ENTRIES, ChainedRun
from tests.protocol.world import propose, verdict, vote_record


@pytest.fixture(scope="module")
def verifiers() -> Iterator[Verifiers]:
    with Verifiers(2) as running:
        yield running


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BATCH_ROWS", 4)


def audited_ahead(entries: Sequence[RawEntry], verifiers: Verifiers) -> Audit:
    result = Audit(TOPIC)
    running = Ahead(result, verifiers)
    for entry in entries:
        running.add(entry)
    running.finish()
    result.finish()
    return result


def assert_equal(entries: Sequence[RawEntry], verifiers: Verifiers) -> Audit:
    plain, found = audit(TOPIC, entries), audited_ahead(entries, verifiers)
    assert report(found) == report(plain)
    assert found.state == plain.state
    assert found.rounds == plain.rounds
    assert body_of(found) == body_of(plain)
    return found


def forged(vote: Vote) -> Vote:
    return vote.model_copy(update={"signature": Signature(base64url(bytes(31) + b"\1" + bytes(31) + b"\1"))})


def attempt(run: ChainedRun, record: Any) -> None:
    """Put a record on the topic, whether or not it has an effect."""
    with suppress(ProtocolError):
        run.put(record)


def hostile(moves: Sequence[int]) -> list[dict[str, Any]]:
    """A run among whose records are forged, doubled, contradicting and foreign ones."""
    run = ChainedRun()
    for move in moves:
        proposal = run.proposal()
        votes = run.votes(proposal, *[Choice.APPROVE] * len(run.voters))
        if move == 0:
            run.accept()
        elif move == 1:
            attempt(run, verdict(proposal, [*votes[:-1], forged(votes[-1])], "accepted"))
        elif move == 2:
            other = run.proposal("another")
            attempt(run, propose(proposal))
            attempt(run, propose(other))
            attempt(run, vote_record(other, run.vote(other, run.voters[0])))
        elif move == 3:
            attempt(run, vote_record(proposal, votes[0]))
            attempt(run, vote_record(proposal, run.vote(proposal, run.voters[0], Choice.REJECT)))
        elif move == 4:
            attempt(run, vote_record(proposal, forged(votes[0])))
            attempt(run, b"of another application")
        elif move == 5:
            run.expire()
        elif move == 6:
            attempt(run, verdict(proposal, votes[:-1], "accepted"))
            attempt(run, verdict(proposal, votes, "accepted"))
            attempt(run, vote_record(proposal, votes[-1]))
        else:
            attempt(run, run.pass_turn(by=(run.current.proposer + 1) % 4))
            attempt(run, run.present(0))
    return run.entries


def test_a_history_that_holds(verifiers: Verifiers) -> None:
    assert assert_equal(ENTRIES, verifiers).ok


@given(st.lists(st.integers(0, 7), max_size=12))
@settings(max_examples=60, deadline=None)
def test_hostile_histories(verifiers: Verifiers, moves: list[int]) -> None:
    assert_equal(hostile(moves), verifiers)


@given(st.integers(0, len(ENTRIES) - 1), st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_changed_bit_of_a_message_that_chains(
    verifiers: Verifiers, index: int, place: int, bit: int
) -> None:
    chain = Chain()
    for number, entry in enumerate(ENTRIES):
        body = bytearray(base64.b64decode(entry["message"]))
        if number == index:
            body[place % len(body)] ^= 1 << bit
        chain.add(bytes(body), step=10**9)
    found = assert_equal(chain.entries, verifiers)
    assert found.violations or found.ignored


def test_a_history_that_does_not_chain(verifiers: Verifiers) -> None:
    entries = hostile([0, 1, 0, 6])
    entries[-2] = entries[-2] | {"running_hash": entries[0]["running_hash"]}
    assert assert_equal(entries, verifiers).broken


def test_a_forged_vote_is_found_on_both_ways(verifiers: Verifiers) -> None:
    entries = hostile([0, 1, 0])
    for found in (audit(TOPIC, entries), audited_ahead(entries, verifiers)):
        assert [(v.sequence, "does not verify" in v.reason) for v in found.violations] == [(3, True)]
        assert len(found.rounds) == 2


def test_what_was_judged_on_a_forged_verdict_is_judged_again(
    verifiers: Verifiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "BATCH_ROWS", 10**6)
    assert_equal(hostile([0, 1, 6, 3, 0, 1, 0]), verifiers)


@pytest.mark.parametrize(("each", "in_hand"), [(0, 3), (1, 5), (4, 1)])
def test_what_the_processes_have_no_time_for_is_checked_here(
    verifiers: Verifiers, monkeypatch: pytest.MonkeyPatch, each: int, in_hand: int
) -> None:
    monkeypatch.setattr(pool, "MAX_EACH", each)
    monkeypatch.setattr(pool, "MAX_IN_HAND", in_hand)
    assert assert_equal(ENTRIES, verifiers).ok
    assert_equal(hostile([0, 1, 6, 3, 0, 1, 0]), verifiers)


def test_answers_come_in_the_order_of_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_EACH", 1)
    with Verifiers(2) as running:
        for count in range(9):
            running.give(bytes(count * ROW))
        assert [len(running.answer()) for _ in range(9)] == list(range(9))
        assert not running.is_ready


def test_a_long_history_is_given_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "WORTHWHILE", 1)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    entries = hostile([0, 1, 2, 6, 0])
    result = Audit(TOPIC)
    add_all(result, entries)
    result.finish()
    assert report(result) == report(audit(TOPIC, entries))


def row(good: bool) -> bytes:
    """The signature of the first proposal of ENTRIES, or the same with a bit of what is signed turned."""
    result = Audit(TOPIC)
    result.add(ENTRIES[0])
    (message,) = result.read(ENTRIES[1])
    assert isinstance(message, TopicMessage)
    _, key, digest, signature = judge(result.state, message, holds).checks[0]
    return key + (digest if good else bytes([digest[0] ^ 1]) + digest[1:]) + signature


def test_a_verifier_answers_each_row() -> None:
    good, bad = row(True), row(False)
    assert check(good + bad + bytes(ROW) + good) == b"\1\0\0\1"
    source, sink = io.BytesIO(), io.BytesIO()
    for rows in (good + bad, b"", good):
        source.write((len(rows) // ROW).to_bytes(COUNT_BYTES, "big") + rows)
    source.seek(0)
    serve(source, sink)
    assert sink.getvalue() == b"\1\0\1"


def test_a_verifier_that_is_gone_is_an_error_of_one_line() -> None:
    with Verifiers(1) as running:
        running._workers[0].process.kill()
        running._workers[0].process.wait()
        with pytest.raises(LedgerError, match="run the audit again"):
            running.give(bytes(ROW))
