"""The round in progress, and what we are doing in it, as the operator's view says it."""

from node.console.history import History, milliseconds, vote_facts
from node.console.schema import Doing, Phase, RoundFacts, VoteFacts
from protocol.ids import Nanoseconds
from protocol.state import OpenRound, RunState
from protocol.view import View


def round_of(view: View, history: History) -> RoundFacts | None:
    """The round in progress; None before the genesis, and once the run has ended."""
    state, current = view.state, view.open
    if state is None or current is None:
        return None
    body = None if view.work.proposal is None else view.work.proposal.body
    if body is None and current.proposals:
        body = current.proposals[0].body
    opened = history.opened(current.number)
    latest = Nanoseconds(current.deadline - state.params.window)
    return RoundFacts(
        number=current.number,
        proposer=current.proposer,
        phase=phase_of(view, current),
        opened_ms=milliseconds(latest) if opened is None else opened,
        deadline_ms=milliseconds(current.deadline),
        members=tuple(sorted(current.members)),
        candidate=None if body is None else body.candidate,
        size=None if body is None else body.size,
        votes=votes_of(view, current),
    )


def votes_of(view: View, current: OpenRound) -> tuple[VoteFacts, ...]:
    """The votes of the round in progress that we know of, from peers or the topic, by place."""
    known = {vote.body.voter: vote for vote in (*current.votes, *view.work.votes)}
    return tuple(vote_facts(known[place], late=False) for place in sorted(known))


def phase_of(view: View, current: OpenRound) -> Phase:
    """How far the round in progress is, as we see it."""
    work, place = view.work, view.place
    if work.proposal is None:
        return "voting" if current.votes else "training"
    if work.decided_at is not None:
        return "consensus"
    votes_here = place in current.members and place != current.proposer
    if not votes_here or any(vote.body.voter == place for vote in work.votes):
        return "voting"
    return "scoring" if work.proposal.body.candidate in view.blobs else "fetching"


def doing_of(view: View) -> Doing:
    """What we are doing in the round in progress."""
    state, current, place = view.state, view.open, view.place
    if not view.live:
        return "catching up"
    if state is None:
        return "waiting"
    if current is None:
        return "ended"
    if place not in current.members:
        return "fetching" if view.fetching else "watching"
    duty = _duty(view, state, current)
    ahead = view.ahead is not None and view.ahead.trained is None and not view.ahead.failed
    return "training ahead" if duty == "waiting" and ahead else duty


def _duty(view: View, state: RunState, current: OpenRound) -> Doing:
    work, mine = view.work, view.place == current.proposer
    if state.head in view.fetching:
        return "fetching"
    if mine:
        return "training" if work.busy and work.proposal is None else "waiting"
    if work.proposal is None or any(vote.body.voter == view.place for vote in work.votes):
        return "waiting"
    if work.busy:
        return "scoring"
    return "fetching" if work.proposal.body.candidate in view.fetching else "waiting"
