"""A node that reads a backlog after an outage: what was due in rounds that are over is neither said nor written."""

import pytest

from protocol.errors import Ignore
from protocol.records import PresentBody
from protocol.view import Sign, Submit
from tests.protocol.peer import Peer, only
from tests.protocol.world import Run, verdict


def absent_member(run):
    """A member that is left out, and its node, which has read so."""
    place = next(p for p in range(5) if p != run.current.proposer)
    peer = Peer(run, place)
    while place not in run.now.inactive:
        proposal = run.proposal()
        votes = [run.vote(proposal, voter) for voter in run.voters if voter != place]
        if run.current.proposer == place:
            run.expire()
        else:
            run.put(verdict(proposal, votes, "accepted"))
    return peer


def test_a_presence_of_a_round_that_is_over_is_not_written():
    run = Run(5, inactive_after=1)
    peer = absent_member(run)
    bodies = [e.body for e in peer.sync() if isinstance(e, Sign) and isinstance(e.body, PresentBody)]
    assert only(peer.sign(bodies[-1]), Submit).record.op == "present"
    run.expire()
    later = [e.body for e in peer.sync() if isinstance(e, Sign) and isinstance(e.body, PresentBody)]
    assert [body.round for body in later] == [run.current.number]
    with pytest.raises(Ignore, match="comes too late"):
        peer.sign(bodies[-1])
