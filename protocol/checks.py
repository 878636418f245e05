"""What a proposal, a vote or an update must be to count (SPEC.md, apply)."""

from collections.abc import Sequence

from protocol.errors import Ignore, Invalid
from protocol.ids import Round
from protocol.messages import Proposal, Update, Vote
from protocol.records import ProposalEntry, VoteEntry, proposal_of, vote_of
from protocol.signing import verify
from protocol.state import OpenRound, RunState


def open_of(state: RunState, round: Round) -> OpenRound:
    """The open round, when it is the one asked for. Raises Ignore when it is over, Invalid before it is."""
    if state.open is None:
        raise Ignore("the run has ended")
    if round < state.open.number:
        raise Ignore(f"round {round} is over")
    if round > state.open.number:
        raise Invalid(f"round {round} is not open; round {state.open.number} is")
    return state.open


def check_proposal(state: RunState, entry: ProposalEntry) -> Proposal:
    """The proposal in a record, checked against the round it is for: turn, base, opening, size, signature."""
    proposal = proposal_of(entry, state.run)
    if state.last is not None and proposal.body.round == state.last.number:
        return proposal  # only compared with the one that was decided
    validate_proposal(state, proposal)
    return proposal


def validate_proposal(state: RunState, proposal: Proposal) -> OpenRound:
    """Check a proposal for the open round: turn, base, opening, size, signature. Raises Ignore or Invalid."""
    body = proposal.body
    if body.run != state.run:
        raise Invalid("a proposal of another run")
    current = open_of(state, body.round)
    if body.proposer != current.proposer:
        raise Invalid(f"a proposal by member {body.proposer}; it is the turn of member {current.proposer}")
    verify(state.roster[current.proposer].key, "proposal", body, proposal.signature)
    if body.base != state.head:
        raise Invalid("a proposal that is not based on the head")
    if body.opening != current.opening:
        raise Invalid("a proposal whose author reads another history of this topic")
    if body.size > state.params.max_blob_bytes:
        raise Invalid(f"a candidate of {body.size} bytes; at most {state.params.max_blob_bytes} are allowed")
    return current


def validate_vote(state: RunState, members: frozenset[int], proposer: int, vote: Vote) -> None:
    """Check a vote's author and signature. Raises Invalid."""
    voter = vote.body.voter
    if voter == proposer:
        raise Invalid("a vote of the proposer: the proposal is its approval")
    if voter not in members:
        raise Invalid(f"a vote of {voter}, who is no member of the round")
    verify(state.roster[voter].key, "vote", vote.body, vote.signature)


def validate_update(state: RunState, current: OpenRound, place: int, update: Update) -> None:
    """Check an update for the open round that has come to the member at a place. Raises Invalid.

    Its contributor need not be active: who is drawn for the vote does not matter to it.
    """
    body = update.body
    if not state.params.contribution_window:
        raise Invalid("an update in a run whose proposers work alone")
    if place != current.proposer:
        raise Invalid("an update for another member, whose turn it is")
    if body.contributor == place or body.contributor not in state.seated:
        raise Invalid(f"an update of {body.contributor}, who does not contribute to this round")
    verify(state.roster[body.contributor].key, "update", body, update.signature)
    if body.base != state.head:
        raise Invalid("an update that is not based on the head")
    if body.size > state.params.max_blob_bytes:
        raise Invalid(f"an update of {body.size} bytes; at most {state.params.max_blob_bytes} are allowed")


def check_votes(
    state: RunState, current: OpenRound, proposal: Proposal, entries: Sequence[VoteEntry]
) -> tuple[Vote, ...]:
    """The votes in a record on the open round, each member at most once. Raises Invalid."""
    digest = proposal.body.digest()
    votes = tuple(vote_of(entry, state.run, current.number, digest) for entry in entries)
    if len({vote.body.voter for vote in votes}) != len(votes):
        raise Invalid("a record with two votes of one voter")
    for vote in votes:
        validate_vote(state, current.members, current.proposer, vote)
    return votes
