"""Training for the next round while this one is decided, on a bet how it will be (SPEC.md, ahead)."""

from dataclasses import replace

from protocol.ids import Digest, Round
from protocol.messages import Choice
from protocol.rounds import counted_choices, members_of, with_returned
from protocol.rules import count_of, proposer_for, tally
from protocol.state import OpenRound, RunState
from protocol.view import Ahead, Effects, Train, View


def train_ahead(view: View, state: RunState, current: OpenRound, place: int) -> tuple[View, Effects]:
    """Train for the next round, once we have proposed or voted, where it will probably want our weights.

    Where members contribute it wants everybody's, else those of whose turn it is.
    """
    is_ours, proposal = place == current.proposer, view.work.proposal
    has_voted = any(vote.body.voter == place for vote in view.work.votes)
    if not (has_voted or (is_ours and proposal is not None)) or is_last(state, current):
        return view, ()
    if not state.params.contribution_window and (is_ours or next_proposer(state, current) != place):
        return view, ()
    ahead = Ahead(Round(current.number + 1), bet(view, state, current, place))
    now = view.ahead
    if ahead.base not in view.blobs or (now and (now.round, now.base) == (ahead.round, ahead.base)):
        return view, ()
    return replace(view, ahead=ahead), (Train(ahead.round, ahead.base),)


def is_last(state: RunState, current: OpenRound) -> bool:
    """Whether the run ends with the open round."""
    return state.seats.ending or 0 < state.params.max_rounds <= current.number


def next_proposer(state: RunState, current: OpenRound) -> int | None:
    """Whose turn is next unless something happens; None where the run ends, or the order is drawn anew."""
    if is_last(state, current):
        return None
    turn = proposer_for(state.order, state.cursor, members_of(with_returned(state)))
    return None if turn is None else turn[0]


def bet(view: View, state: RunState, current: OpenRound, place: int) -> Digest:
    """The likeliest next head: what the votes have decided, or what our own vote wants."""
    proposal, votes = view.work.proposal, view.work.votes
    if proposal is None:
        return state.head
    outcome = tally(count_of(counted_choices(current, votes), len(current.members)), state.params)
    if outcome is not None:
        return proposal.body.candidate if outcome == "accepted" else state.head
    own = {vote.body.choice for vote in votes if vote.body.voter == place}
    return state.head if own & {Choice.REJECT, Choice.UNAVAILABLE} else proposal.body.candidate


def still_good(view: View, state: RunState) -> Ahead | None:
    """The work done ahead, where the round that has opened is the one it was done for."""
    ahead, current = view.ahead, state.open
    if ahead is None or current is None:
        return None
    if current.proposer != view.place and not state.params.contribution_window:
        return None
    return ahead if (ahead.round, ahead.base) == (current.number, state.head) else None
