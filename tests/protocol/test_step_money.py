"""step: settlements, as one member sees them through."""

import pytest

from protocol.errors import Ignore
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.settlement import payout_of
from protocol.timing import alarm
from protocol.transfers import TransactionId
from protocol.view import Cosign, Executed, Submit, Tick
from tests.protocol.peer import Peer
from tests.protocol.world import POOL, Run

PAID = TransactionId("0.0.1002-1700000000-000000001?scheduled")


@pytest.fixture
def run():
    run = Run(4, pool=POOL, reward_vote=7, settle_every=2)
    run.accept()
    return run


def due(run, place):
    """A member of a run in which a settlement has just become due, and what it then does at once."""
    peer = Peer(run, place)
    run.accept()
    peer.sync()
    return peer


def wait(peer):
    """Let the alarm go off, once; what comes of it but for trainings and rounds that close."""
    peer.now = alarm(peer.view, peer.now)
    effects = peer.feed(Tick())
    return [
        e for e in effects if not isinstance(e, Submit) or e.record.op not in ("close", "vote", "propose")
    ]


def waited(peer, kind):
    """The first effect of a kind that waiting brings."""
    for _ in range(20):
        found = [effect for effect in wait(peer) if isinstance(effect, kind)]
        if found:
            return found[0]
    raise AssertionError(f"no {kind.__name__} ever")


def opened(run, place):
    """A member of a run whose settlement is open, and its request to sign it."""
    peer = due(run, place)
    run.put(SettleRecord(run=run.now.run, number=1))
    effects = peer.sync()
    asked = [effect for effect in effects if isinstance(effect, Cosign)]
    return peer, asked[0] if asked else waited(peer, Cosign)


def test_a_settlement_is_opened_once_it_is_due_first_by_who_is_next(run):
    peer = Peer(run, run.current.proposer)
    run.accept()
    proposer = run.current.proposer
    others = [due_peer for due_peer in (Peer(run, place) for place in range(4)) if due_peer.place != proposer]
    first = Peer(run, proposer)
    sent = [effect.record for effect in first.effects if isinstance(effect, Submit)]
    assert sent == [SettleRecord(run=run.now.run, number=1)]
    assert not [e for other in others for e in other.effects if isinstance(e, Submit)]
    assert waited(others[0], Submit).record == sent[0]
    assert peer.view.payment is None, "a round earlier it was not due"


def test_an_open_settlement_is_signed_once(run):
    peer, asked = opened(run, 0)
    assert (asked.number, asked.payout) == (1, payout_of(run.now))
    assert not [effect for _ in range(3) for effect in wait(peer) if isinstance(effect, Cosign)]


def test_what_was_paid_is_said_until_it_is_on_the_topic(run):
    peer, _ = opened(run, 0)
    peer.feed(Executed(1, PAID, True))
    record = SettledRecord(run=run.now.run, number=1, transaction=PAID)
    assert waited(peer, Submit).record == record
    assert waited(peer, Submit).record == record


def test_a_failure_that_nobody_believes_is_looked_into_again(run):
    """Our mirror may have been behind when we were told that nothing was paid."""
    peer, asked = opened(run, 0)
    peer.feed(Executed(1, None, False))
    assert waited(peer, Submit).record == FailedRecord(run=run.now.run, number=1)
    assert waited(peer, Cosign) == asked
    peer.feed(Executed(1, PAID, True))
    assert waited(peer, Submit).record == SettledRecord(run=run.now.run, number=1, transaction=PAID)


def test_news_of_another_settlement_is_ignored(run):
    peer, _ = opened(run, 0)
    before = peer.view
    with pytest.raises(Ignore, match="settlement 2"):
        peer.feed(Executed(2, PAID, True))
    assert peer.view is before
