"""An audit that is put aside and gone on with says what one audit from the first message says."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit import Audit, Find, audit, nothing, report
from ledger.checkpoint import Checkpoint, audit_of, body_of, confirm, read_checkpoint, write_checkpoint
from ledger.checkpoint_money import MoneyForm, SettlementForm
from ledger.checkpoint_state import OpenForm, SeatsForm, StateForm, form_of, state_of
from ledger.topic import LedgerError
from protocol.errors import Ignore, Invalid
from protocol.fields import Model, canonical
from protocol.ids import AccountId, Tinybar, TopicId
from protocol.messages import Choice
from protocol.money import Money, Refusal, Settlement, TreasuryKeys, Unbonding
from protocol.state import OpenRound, RunState, Seats
from protocol.transfers import TransactionId
from tests.ledger.chains import TOPIC, Chain, Chunk
from tests.ledger.moneyed import MoneyedRun
from tests.ledger.test_audit import ENTRIES, ChainedRun
from tests.ledger.test_audit_conduct import play
from tests.protocol.world import params, propose, vote_record


class ChunkedRun(ChainedRun):
    """A run whose longer records come in chunks, out of order, with messages of others between them."""

    def put(self, record: Model | bytes, at: int | None = None) -> RunState:
        raw = record if isinstance(record, bytes) else canonical(record)
        parts = [raw[start : start + 500] for start in range(0, len(raw), 500)]
        mark, step = len(self.entries) + 1, self.step(at)
        order = [*range(2, len(parts) + 1), 1]
        for number in order:
            chunk = Chunk(mark, number, len(parts))
            entry = self.chain.add(parts[number - 1], chunk=chunk, step=step)
            step = 1_000
            if number != order[-1]:
                self.chain.add(b"hello")
        return self.fold(raw, entry)


MOVES = ["accept", "reject", "neutral", "pass", "expire", "late", "twice", "false", "half", "vote", "junk"]


def story(moves: list[str], chunked: bool) -> list[dict[str, Any]]:
    """A history with all that can happen in one: the moves name it."""
    run = ChunkedRun(max_rounds=6) if chunked else ChainedRun(max_rounds=6)
    for move in moves:
        if move == "junk" or run.now.open is None:
            run.chain.add(b"hello")
        elif move == "half":
            payer = AccountId("0.0.9")
            run.chain.add(b"half of", payer=payer, chunk=Chunk(len(run.entries) + 1, 1, 3))
        elif move in ("twice", "false", "vote"):
            try:
                trouble(run, move)
            except (Ignore, Invalid):
                continue
        else:
            try:
                play(run, move)
            except (Ignore, Invalid):  # what is on the topic already stands against it
                run.expire()
    return run.entries


def trouble(run: ChainedRun, move: str) -> None:
    proposal = run.proposal()
    voter = run.voters[0]
    if move == "false":
        run.put(run.close(round=99))
    elif move == "twice":
        run.put(propose(proposal))
        run.put(propose(run.proposal("other")))
    else:
        run.put(vote_record(proposal, run.vote(proposal, voter)))
        run.put(vote_record(proposal, run.vote(proposal, voter, Choice.REJECT)))


def begun(entries: list[dict[str, Any]], find: Find = nothing) -> Audit:
    result = Audit(TOPIC, find)
    for entry in entries:
        result.add(entry)
    return result


def through_json(result: Audit) -> Audit:
    body = body_of(result)
    return audit_of(type(body).model_validate_json(canonical(body)))


def ended(result: Audit, entries: list[dict[str, Any]]) -> dict[str, Any]:
    for entry in entries:
        result.add(entry)
    result.finish()
    return report(result)


STORIES = st.lists(st.sampled_from(MOVES), max_size=8)


@given(STORIES, st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_history_split_anywhere_gives_the_report_of_the_whole(
    moves: list[str], chunked: bool, data: st.DataObject
) -> None:
    entries = story(moves, chunked)
    split = data.draw(st.integers(0, len(entries)))
    first = begun(entries[:split])
    again = through_json(first)
    assert again.state == first.state
    assert again.evidence == first.evidence
    assert again.history.open == first.history.open
    assert list(again.history.open) == list(first.history.open), "the order decides who is dropped first"
    assert body_of(again) == body_of(first)
    assert ended(again, entries[split:]) == report(audit(TOPIC, entries))


@pytest.mark.parametrize("chunked", [False, True])
def test_an_audit_can_be_put_aside_after_every_message(chunked: bool) -> None:
    entries = story(["late", "half", "twice", "expire", "vote", "accept", "false", "reject", "junk"], chunked)
    whole = report(audit(TOPIC, entries))
    assert whole["equivocations"]
    assert whole["violations"]
    assert whole["ignored"]
    result = Audit(TOPIC)
    for entry in entries:
        result = through_json(result)
        result.add(entry)
    assert ended(through_json(result), []) == whole


def test_a_chunked_genesis_is_completed_after_the_split() -> None:
    entries = story(["accept"], chunked=True)
    first = begun(entries[:2])
    assert first.state is None
    assert first.history.open
    found = ended(through_json(first), entries[2:])
    assert (found["ok"], found["accepted"]) == (True, 1)


def test_a_break_after_the_split_is_found_and_named() -> None:
    forged = {**ENTRIES[4], "payer_account_id": "0.0.8"}
    found = ended(through_json(begun(ENTRIES[:4])), [forged, *ENTRIES[5:]])
    assert found == report(audit(TOPIC, [*ENTRIES[:4], forged, *ENTRIES[5:]]))
    assert found["violations"][0]["sequence"] == 5


def test_amounts_and_times_beyond_what_json_numbers_carry() -> None:
    run = MoneyedRun(pool=2**53 - 1)
    run.fund(2**53 - 1)
    result = begun(run.entries, run.find)
    assert result.state is not None
    assert result.state.money.pool > 2**53
    assert through_json(result).state == result.state


AMOUNTS = st.integers(0, 2**60).map(Tinybar)
COUNTS = st.integers(0, 2**53 - 1)
PLACES = st.integers(0, 999)
SETS = st.frozensets(PLACES, max_size=4)
NAMES = st.integers(1, 10**9).map(lambda n: AccountId(f"0.0.{n}"))
MONEYS = st.dictionaries(NAMES, AMOUNTS, max_size=4).map(lambda d: tuple(sorted(d.items())))
KEYS = st.builds(TreasuryKeys, COUNTS, st.lists(PLACES, max_size=3).map(tuple))
IDS = NAMES.map(lambda name: TransactionId(f"{name}-1700000000-000000001?scheduled"))


@given(
    st.builds(
        Money,
        treasury=st.none() | NAMES,
        keys=KEYS,
        stakes=st.lists(AMOUNTS, max_size=4).map(tuple),
        deposits=AMOUNTS,
        pool=AMOUNTS,
        fees=AMOUNTS,
        unbonding=st.lists(st.builds(Unbonding, PLACES, AMOUNTS, COUNTS), max_size=3).map(tuple),
        owed=MONEYS,
        paid=MONEYS,
        earned=MONEYS,
        funds=MONEYS,
        used=st.frozensets(IDS, max_size=3),
        settlement=st.none()
        | st.builds(Settlement, COUNTS, COUNTS, AMOUNTS, MONEYS, AMOUNTS, AMOUNTS, st.none() | KEYS),
        settlements=COUNTS,
        rotations=COUNTS,
        snapshot_round=COUNTS,
        queue=st.lists(NAMES, max_size=3).map(tuple),
        alone=st.frozensets(NAMES, max_size=3),
        refusals=st.lists(st.builds(Refusal, NAMES, COUNTS, COUNTS), max_size=3).map(tuple),
        wound_up=st.booleans(),
    ),
    st.builds(
        Seats,
        terms=st.lists(COUNTS, max_size=4).map(tuple),
        vacant=SETS,
        joining=SETS,
        leaving=SETS,
        expelled=SETS,
        amendments=COUNTS,
        pending=st.lists(
            st.sampled_from([params(), params(stake_min=5, admission="open"), params().learner]), max_size=3
        ).map(tuple),
        ending=st.booleans(),
    ),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_state_comes_back_from_its_form(money: Money, seats: Seats, is_doubled: bool) -> None:
    run = ChainedRun()
    if is_doubled:
        trouble(run, "vote")
        run.put(propose(run.proposal("other")))
        assert (len(run.current.seconds), len(run.current.proposals)) == (1, 2)
    state = replace(run.now, money=money, seats=seats)
    form = form_of(state)
    assert state_of(type(form).model_validate_json(canonical(form)), TOPIC, state.last) == state


def test_every_field_of_a_state_is_in_its_form() -> None:
    for kind, form in (
        (Money, MoneyForm),
        (Seats, SeatsForm),
        (OpenRound, OpenForm),
        (Settlement, SettlementForm),
    ):
        assert {field.name for field in fields(kind)} == set(form.model_fields)
    told = {field.name for field in fields(RunState) if field.init}  # the others are found out again
    assert told - {"topic", "last"} == set(StateForm.model_fields)


def test_what_the_mirror_says_of_a_chunk_is_kept_whatever_it_is() -> None:
    chain = Chain()
    entry = chain.add(b"half of", chunk=Chunk(1, 1, 2))
    entry["chunk_info"]["initial_transaction_id"] |= {"nonce": -(2**70), "scheduled": True}
    first = begun(chain.entries)
    assert through_json(first).history.open == first.history.open


# ---- the file ----


def test_the_file_is_canonical_and_names_its_own_digest(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    write_checkpoint(file, begun(ENTRIES))
    data = file.read_bytes()
    assert canonical(Checkpoint.model_validate_json(data)) == data
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert ended(read_checkpoint(file, TOPIC), []) == report(audit(TOPIC, ENTRIES))


def test_no_file_is_the_beginning(tmp_path: Path) -> None:
    fresh = read_checkpoint(tmp_path / "none.json", TOPIC)
    assert (fresh.sequence, fresh.state) == (0, None)


def refusal(file: Path, topic: TopicId = TOPIC) -> str:
    with pytest.raises(LedgerError) as caught:
        read_checkpoint(file, topic)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_another_topics_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    write_checkpoint(file, begun(ENTRIES))
    assert "is a checkpoint of topic 0.0.1001, not 0.0.1002" in refusal(file, TopicId("0.0.1002"))


def test_a_changed_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    write_checkpoint(file, begun(ENTRIES))
    content = json.loads(file.read_bytes())
    content["body"]["messages"] += 1
    file.write_text(json.dumps(content))
    assert "is damaged" in refusal(file)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"body":{},"digest":""}', b"[" * 10_000])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "checkpoint.json"
    file.write_bytes(data)
    assert "is no checkpoint" in refusal(file)
    assert "delete it" in refusal(file)


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    write_checkpoint(file, begun(ENTRIES))
    data = file.read_bytes()
    for length in range(0, len(data), 97):
        file.write_bytes(data[:length])
        refusal(file)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path)


def test_a_history_must_have_the_message_the_checkpoint_stands_on() -> None:
    result = begun(ENTRIES[:3])
    confirm(result, ENTRIES[2])
    run = ChainedRun()
    run.put(run.pass_turn())
    run.put(run.pass_turn())
    for other in (None, ENTRIES[1], ENTRIES[3], run.entries[2], {}):
        with pytest.raises(LedgerError, match="does not belong to this history"):
            confirm(result, other)
