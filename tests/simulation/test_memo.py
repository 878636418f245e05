"""What a simulation remembers is what is found out without a memory."""

import pytest

from node.journal import AlreadySigned, Journal
from node.simulation.memo import Memo
from protocol.errors import Ignore, Invalid
from protocol.fields import canonical
from protocol.fold import folded_by, read
from protocol.messages import Choice, parse_message
from tests.protocol.world import PEERS, START, TOPIC, Run, genesis, verdict
from tests.protocol.world import Topic as Stamps


def test_read_asks_a_folder_within_its_context():
    stamp = Stamps().put(b"anything", START)

    def fold(state, topic, raw, stamp, found):
        raise Ignore("asked")

    with folded_by(fold), pytest.raises(Ignore, match="asked"):
        read(None, TOPIC, canonical(genesis(3)), stamp)
    assert read(None, TOPIC, canonical(genesis(3)), stamp).open is not None


def test_one_state_and_one_message_have_one_outcome():
    run, memo = Run(3), Memo()
    proposal = run.proposal()
    record = canonical(verdict(proposal, run.votes(proposal, Choice.APPROVE, Choice.APPROVE), "accepted"))
    stamp = run.topic.put(record, run.time + 1)
    wrong = canonical(verdict(proposal, run.votes(proposal, Choice.APPROVE), "rejected"))
    wrong_stamp = run.topic.put(wrong, run.time + 2)
    with memo.in_use():
        after = read(run.now, TOPIC, record, stamp)
        assert read(run.now, TOPIC, record, stamp) is after
        refused = []
        for _ in range(2):
            with pytest.raises(Invalid) as error:
                read(run.now, TOPIC, wrong, wrong_stamp)
            refused.append(str(error.value))
    assert refused[0] == refused[1]
    assert read(run.now, TOPIC, record, stamp) == after


def test_a_signature_is_remembered_with_all_that_it_depends_on():
    run, memo = Run(3), Memo()
    vote = run.vote(run.proposal(), run.voters[0])
    other = vote.model_copy(update={"signature": run.vote(run.proposal(), run.voters[1]).signature})
    heard = memo.received(PEERS[0], canonical(vote))
    assert heard.message == vote == parse_message(canonical(vote))
    assert memo.received(PEERS[0], canonical(vote)) is heard
    assert memo.received(PEERS[1], canonical(vote)).sender == PEERS[1]
    assert memo.received(PEERS[0], canonical(other)).message != vote


def test_a_journal_in_memory_keeps_its_word():
    journal = Journal.in_memory()
    journal.remember("vote", "run", 1, b"approve", b"first message")
    journal.remember("vote", "run", 1, b"approve", b"second message")
    journal.remember("vote", "run", 2, b"reject", b"another round")
    with pytest.raises(AlreadySigned) as refused:
        journal.remember("vote", "run", 1, b"reject", b"third message")
    assert refused.value.existing == b"first message"
    assert journal.signed("vote", "run", 1) == b"first message"
