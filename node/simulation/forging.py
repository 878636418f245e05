"""What somebody with a key, but without scruples, can sign and write."""

from random import Random

from protocol.fields import canonical
from protocol.ids import Digest, Ppm, Round
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Update, Vote, VoteBody
from protocol.motions import FaultRecord, SignedProposal, SignedVote
from protocol.records import (
    PassBody,
    PassRecord,
    ProposeRecord,
    VerdictRecord,
    VoteRecord,
    entry_of,
    proposal_of,
    vote_entry_of,
    vote_of,
)
from protocol.signing import sign
from protocol.state import OpenRound, RunState

CHOICES = tuple(Choice)


def other_proposal(secret: bytes, proposal: Proposal, candidate: Digest) -> Proposal:
    """The same proposal with another candidate."""
    return signed_proposal(secret, proposal.body.model_copy(update={"candidate": candidate}))


def signed_proposal(secret: bytes, body: ProposalBody) -> Proposal:
    """A proposal of any body."""
    return Proposal(body=body, signature=sign(secret, "proposal", body))


def other_vote(secret: bytes, vote: Vote, random: Random) -> Vote:
    """The same vote with another choice."""
    choice = random.choice([choice for choice in CHOICES if choice is not vote.body.choice])
    body = vote.body.model_copy(update={"choice": choice})
    return Vote(body=body, signature=sign(secret, "vote", body))


def proposal_for(
    state: RunState, current: OpenRound, place: int, secret: bytes, base: Digest, candidate: Digest
) -> Proposal:
    """A proposal for the open round, right in all but what one asks for."""
    body = ProposalBody(
        run=state.run,
        round=current.number,
        base=base,
        candidate=candidate,
        size=1000,
        opening=current.opening,
        contributors=(Contributor(account=state.roster[place].account, share=Ppm(1_000_000)),),
        proposer=place,
    )
    return signed_proposal(secret, body)


def vote_for(
    state: RunState, round: Round, proposal: Digest, place: int, secret: bytes, choice: Choice
) -> Vote:
    """A vote on any proposal of any round."""
    body = VoteBody(
        run=state.run, round=round, proposal=proposal, voter=place, choice=choice, gain=Ppm(10_000)
    )
    return Vote(body=body, signature=sign(secret, "vote", body))


def other_update(secret: bytes, first: Update, **changes: object) -> Update:
    """The same update with something else in it, signed by whoever has the secret."""
    body = first.body.model_copy(update=changes)
    return Update(body=body, signature=sign(secret, "update", body))


def propose_record(proposal: Proposal) -> bytes:
    """A proposal on the topic."""
    return canonical(ProposeRecord(proposal=entry_of(proposal)))


def vote_record(record: VoteRecord, run: Digest, secret: bytes, random: Random) -> bytes:
    """The record of a vote with another choice."""
    proposal = proposal_of(record.proposal, run)
    vote = vote_of(record.vote, run, proposal.body.round, proposal.body.digest())
    return canonical(record.model_copy(update={"vote": vote_entry_of(other_vote(secret, vote, random))}))


def pass_record(state: RunState, round: Round, secret: bytes) -> bytes:
    """Handing on the turn of a round."""
    body = PassBody(run=state.run, round=round)
    return canonical(PassRecord(body=body, sig=sign(secret, "pass", body)))


def false_fault(state: RunState, vote: Vote, secret: bytes) -> bytes:
    """Evidence against an honest voter whose second half its accuser has signed."""
    body = vote.body.model_copy(update={"choice": Choice.ABSTAIN, "gain": Ppm(1)})
    forged = SignedVote(body=body, sig=sign(secret, "vote", body))
    first = SignedVote(body=vote.body, sig=vote.signature)
    return canonical(FaultRecord(member=vote.body.voter, first=first, second=forged))


def repeated_fault(proposal: Proposal) -> bytes:
    """Evidence that is the same thing twice."""
    signed = SignedProposal(body=proposal.body, sig=proposal.signature)
    return canonical(FaultRecord(member=proposal.body.proposer, first=signed, second=signed))


def shorter_verdict(record: VerdictRecord, keep: int) -> bytes:
    """A verdict with some of its votes."""
    return canonical(record.model_copy(update={"votes": record.votes[:keep]}))


def turned_verdict(record: VerdictRecord) -> bytes:
    """A verdict that says the opposite."""
    outcome = "rejected" if record.outcome == "accepted" else "accepted"
    return canonical(record.model_copy(update={"outcome": outcome}))
