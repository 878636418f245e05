"""Noticing that a member contradicts itself, and keeping what proves it (SPEC.md, motions)."""

from protocol.messages import Proposal, Vote
from protocol.motions import SignedPass, SignedProposal, SignedVote
from protocol.parse import parse_record
from protocol.records import PassRecord
from protocol.state import RunState
from protocol.treasurer import with_charge
from protocol.view import Recorded, View


def notice_pass(view: View, state: RunState, event: Recorded) -> View:
    """Charge a proposer that passed on a round for which it had signed a proposal."""
    last, proposal = state.last, view.work.proposal
    if last is None or last.ending != "passed" or proposal is None:
        return view
    record = parse_record(event.raw)
    if not isinstance(record, PassRecord) or record.body.round != proposal.body.round:
        return view
    passed = SignedPass(body=record.body, sig=record.sig)
    return with_charge(view, proposal.body.proposer, signed_proposal(proposal), passed)


def notice_proposal(view: View, proposal: Proposal) -> View:
    """Charge a proposer with a valid proposal that differs from the one we consider."""
    known = view.work.proposal
    if known is None or known.body == proposal.body:
        return view
    return with_charge(view, known.body.proposer, signed_proposal(known), signed_proposal(proposal))


def notice_vote(view: View, vote: Vote) -> View:
    """Charge a voter with a valid vote that differs from one we know of it."""
    for other in (*view.work.votes, *view.work.waiting):
        is_of_one = other.body.voter == vote.body.voter and other.body.round == vote.body.round
        if is_of_one and other.body != vote.body:
            view = with_charge(view, vote.body.voter, signed_vote(other), signed_vote(vote))
    return view


def signed_proposal(proposal: Proposal) -> SignedProposal:
    """A proposal as evidence."""
    return SignedProposal(body=proposal.body, sig=proposal.signature)


def signed_vote(vote: Vote) -> SignedVote:
    """A vote as evidence."""
    return SignedVote(body=vote.body, sig=vote.signature)
