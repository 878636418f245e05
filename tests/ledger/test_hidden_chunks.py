"""Chunk information, which no running hash covers: who forges it hides no record from an audit."""

import pytest

from ledger.audit import Audit, audit, report
from protocol.fields import canonical
from tests.ledger.chains import TOPIC, Chain, Chunk, chunk_info
from tests.ledger.test_audit import ChainedRun
from tests.protocol.world import propose


def voted() -> ChainedRun:
    """A run in which a proposal is on the topic that no later state depends on."""
    run = ChainedRun()
    run.put(propose(run.proposal()))
    run.accept()
    return run


def hidden(run: ChainedRun, chunk: Chunk) -> Audit:
    entries = [dict(entry) for entry in run.entries]
    entries[1]["chunk_info"] = chunk_info(entries[1]["payer_account_id"], chunk)
    return audit(TOPIC, entries)


@pytest.mark.parametrize(
    "chunk", [Chunk(1, 1, 2), Chunk(1, 2, 2), Chunk(1, 3, 2), Chunk(1, 1, 30), Chunk(1, 1, "two")]
)
def test_a_record_that_is_said_to_be_a_chunk_is_a_violation(chunk: Chunk) -> None:
    run = voted()
    assert report(audit(TOPIC, run.entries))["ok"]
    found = hidden(run, chunk)
    assert [violation.sequence for violation in found.violations] == [2]
    assert "a whole record that is said to be a chunk" in found.violations[0].reason


def test_it_is_none_where_the_information_says_one_of_one() -> None:
    assert hidden(voted(), Chunk(1, 1, 1)).ok


def test_a_record_that_is_said_to_be_a_part_that_came_before_is_a_violation() -> None:
    chain, run = Chain(), voted()
    genesis, record = canonical(run.genesis), canonical(propose(run.proposal()))
    chain.add(genesis)
    chain.add(record[:100], chunk=Chunk(1, 1, 2))
    chain.add(record, chunk=Chunk(1, 1, 2))
    chain.add(record[100:], chunk=Chunk(1, 2, 2))
    found = audit(TOPIC, chain.entries)
    assert "message 3: a whole record that is said to be a chunk" in str(found.violations[0])


def test_chunks_that_never_become_a_message_are_ignored_as_before() -> None:
    chain, run = Chain(), voted()
    chain.add(canonical(run.genesis))
    chain.add(canonical(run.genesis)[:100], chunk=Chunk(1, 1, 2))
    found = audit(TOPIC, chain.entries)
    assert found.ok
    assert [passed.reason for passed in found.ignored] == ["dropped: its other chunks are missing"]
