"""What one participant does: `step` takes its view over one event, and says what to do (SPEC.md, step).

    step(view, event, now)
      on_...            what the event tells us; raises Ignore or Invalid, and then nothing has changed
      duties.advance    everything that is due and not yet under way, looked at afresh after each event
    timing.alarm        when to send a Tick, if nothing happens before

No clock, no randomness, no I/O: the shell (node/driver.py) feeds events and runs effects.
"""

from dataclasses import replace

from protocol.ahead import still_good
from protocol.bodies import kind_of
from protocol.checks import open_of, validate_proposal, validate_vote
from protocol.contributions import (
    give_update,
    on_merged,
    on_merging_failed,
    receive_update,
    say_update_again,
    with_own,
    without_update,
)
from protocol.duties import advance, vote_body
from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.evidence import notice_pass, notice_proposal, notice_vote
from protocol.fold import read
from protocol.ids import SECOND, Digest, Nanoseconds, PeerId, Ppm
from protocol.messages import Choice, Message, Proposal, ProposalBody, Update, UpdateBody, Vote, VoteBody
from protocol.records import (
    AddressBody,
    AddressRecord,
    PassBody,
    PassRecord,
    PresentBody,
    PresentRecord,
    ProposeRecord,
    VoteRecord,
    entry_of,
    vote_entry_of,
)
from protocol.rounds import is_undrawn
from protocol.state import OpenRound, RunState
from protocol.view import (
    Ahead,
    CaughtUp,
    Effects,
    Event,
    Executed,
    Fetched,
    FetchingFailed,
    Gone,
    Listening,
    Merged,
    MergingFailed,
    PeerUp,
    Received,
    Recorded,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Signed,
    Submit,
    Tick,
    Trained,
    TrainingFailed,
    View,
    Work,
)

MAX_FAILURES = 2
"""After so many failures of our learner in one round we pass, or abstain."""


def step(view: View, event: Event, now: Nanoseconds) -> tuple[View, Effects]:
    """The view after an event at local time `now`, and what is to be done. Raises Ignore or Invalid."""
    view, first = _on(view, event, now)
    view, then = advance(view, now)
    return view, first + then


def _on(view: View, event: Event, now: Nanoseconds) -> tuple[View, Effects]:
    match event:
        case Recorded():
            return on_recorded(view, event)
        case CaughtUp():
            return replace(view, live=True), ()
        case Received():
            return on_received(view, event.sender, event.message), ()
        case PeerUp():
            return view, repeat(view, event.peer)
        case Listening():
            return replace(view, addresses=event.addresses, announced_at=None), ()
        case Signed():
            return on_signed(view, event)
        case Trained():
            return on_trained(view, event)
        case TrainingFailed():
            return on_training_failed(view, event)
        case Merged():
            return on_merged(view, event)
        case MergingFailed():
            return on_merging_failed(view, event)
        case Scored():
            return on_scored(view, event)
        case ScoringFailed():
            return on_scoring_failed(view, event)
        case Fetched():
            return on_fetched(view, event.digest), ()
        case FetchingFailed():
            return on_fetching_failed(view, event.digest, now), ()
        case Gone():
            return replace(view, blobs=view.blobs - {event.digest}), ()
        case Executed():
            return on_executed(view, event, now), ()
        case Tick():
            return view, ()


# ---- the topic ----


def on_recorded(view: View, event: Recorded) -> tuple[View, Effects]:
    """Fold the record in; when it closed the round, start on the next one."""
    state = read(view.state, view.topic, event.raw, event.stamp, event.found)
    before = view.open
    view = replace(view, state=state)
    if before is not None and state.open is not None and before.number == state.open.number:
        return absorb_topic(view, state, before, state.open), ()
    effects = late_vote(view, state)
    view = notice_pass(view, state, event)
    ahead = still_good(view, state)
    blobs = view.blobs & ({state.head} | kept(view.work, ahead))
    return replay_early(replace(view, ahead=ahead, work=Work(), blobs=blobs)), effects


def kept(work: Work, ahead: Ahead | None) -> frozenset[Digest]:
    """The candidate just decided, which may be the head now, and the one we made ahead."""
    proposal = work.proposal
    decided = set() if proposal is None else {proposal.body.candidate}
    own = set() if ahead is None or ahead.trained is None else {ahead.trained.candidate}
    return frozenset(decided | own)


def absorb_topic(view: View, state: RunState, before: OpenRound, current: OpenRound) -> View:
    """Learn from the topic what we did not hear from the peers, and who says there what it did not say to us.

    before: the round without the record that was just folded in; what it had was taken in with it.
    """
    is_drawn_now = is_undrawn(state, before) and not is_undrawn(state, current)
    is_news = view.work.proposal is None or is_drawn_now
    for proposal in current.proposals:
        view = notice_proposal(view, proposal)
        if is_news:
            view, is_news = with_proposal(view, proposal), False
    for vote in (*current.votes[len(before.votes) :], *current.seconds[len(before.seconds) :]):
        view = with_vote(view, vote)
    return view


def late_vote(view: View, state: RunState) -> Effects:
    """Put our vote on the topic when the record that closed its round left it out."""
    last, work = state.last, view.work
    own = next((v for v in work.votes if v.body.voter == view.place), None)
    if not view.live or own is None or last is None or last.proposal is None or work.proposal is None:
        return ()
    if work.proposal.body != last.proposal.body or any(v.body.voter == view.place for v in last.votes):
        return ()
    return (Submit(VoteRecord(proposal=entry_of(last.proposal), vote=vote_entry_of(own))),)


# ---- the peers ----


def on_received(view: View, sender: PeerId, message: Message) -> View:
    """A proposal, a vote or an update: check it, and keep it. Raises Ignore or Invalid."""
    state, current = view.state, view.open
    if state is None or current is None:
        raise Ignore("a message while no round is open")
    if message.body.run != state.run:
        raise Invalid("a message of another run")
    if message.body.round == current.number + 1:
        return keep_early(view, sender, message)
    if message.body.round != current.number:
        raise Ignore(f"a message on round {message.body.round}; round {current.number} is open")
    if isinstance(message, Proposal):
        return receive_proposal(view, state, message)
    if isinstance(message, Update):
        return receive_update(view, state, current, message)
    validate_vote(state, current.members, current.proposer, message)
    return with_vote(view, message)


def receive_proposal(view: View, state: RunState, proposal: Proposal) -> View:
    """Consider the first valid proposal of the round. Raises Ignore or Invalid."""
    known = view.work.proposal
    if known is not None and known.body == proposal.body:
        raise Ignore("a proposal that we know")
    if is_undrawn(state, validate_proposal(state, proposal)):
        raise Ignore("a proposal that is not on the topic yet: it draws a committee there")
    if known is not None:  # its author equivocates, but whoever repeats it to us may know no other
        return notice_proposal(view, proposal)
    return with_proposal(view, proposal)


def with_proposal(view: View, proposal: Proposal) -> View:
    """Consider a valid proposal, and the votes on it that came before it."""
    waiting = view.work.waiting
    view = replace(view, work=replace(view.work, proposal=proposal, waiting=()))
    members = frozenset() if view.open is None else view.open.members
    for vote in waiting:
        if vote.body.voter in members:  # who is not on the committee may have voted before it was drawn
            view = with_vote(view, vote)
    return view


def with_vote(view: View, vote: Vote) -> View:
    """Keep a valid vote, the first of each voter; a different second one is evidence."""
    view, work = notice_vote(view, vote), view.work
    is_early = view.state is not None and view.open is not None and is_undrawn(view.state, view.open)
    if work.proposal is None or is_early:
        if any(v.body.voter == vote.body.voter for v in work.waiting):
            return view
        return replace(view, work=replace(work, waiting=(*work.waiting, vote)))
    if vote.body.proposal != work.proposal.body.digest():
        return view  # a vote on another proposal: not ours to count, the topic judges it
    if any(v.body.voter == vote.body.voter for v in work.votes):
        return view
    return replace(view, work=replace(work, votes=(*work.votes, vote)))


def keep_early(view: View, sender: PeerId, message: Message) -> View:
    """Keep a message on the next round, at most two of a sender. Raises Ignore when there are more."""
    if (sender, message) in view.early:
        raise Ignore("an early message that we have")
    if sum(1 for peer, _ in view.early if peer == sender) >= 2:
        raise Ignore("more messages on the next round than a peer can have")
    return replace(view, early=(*view.early, (sender, message)))


def replay_early(view: View) -> View:
    """Receive what came too early; what turns out to be wrong by now is dropped."""
    if not view.early:
        return view
    early, view = view.early, replace(view, early=())
    for sender, message in early:
        try:
            view = on_received(view, sender, message)
        except ProtocolError:
            continue
    return view


def repeat(view: View, peer: PeerId) -> Effects:
    """Tell a peer that has just (re)connected what it may have missed of the round in progress."""
    work = view.work
    if view.open is None or work.proposal is None:
        return say_update_again(view, peer)
    own = [Send(v, (peer,)) for v in work.votes if v.body.voter == view.place]
    return (Send(work.proposal, (peer,)), *own)


# ---- our own learner, journal and store ----


def on_trained(view: View, event: Trained) -> tuple[View, Effects]:
    """Take what our learner has made for our turn, or keep it until it is wanted. Raises Ignore.

    What is too large for the others to fetch is a failure of our learner.
    """
    state, current, place, ahead = view.state, view.open, view.place, view.ahead
    made = (event.round, event.base)
    is_ahead = ahead is not None and made == (ahead.round, ahead.base)
    if state is None or current is None or place is None:
        raise Ignore("a candidate while no round is open")
    is_now = current.proposer == place and made == (current.number, state.head)
    if not (is_now or is_ahead):
        raise Ignore(f"a candidate for round {event.round}, which is over, or that has another head")
    if is_now and (view.work.turn_signed or view.work.gathering.own is not None):
        raise Ignore(f"another candidate for round {event.round}: a bet was made twice")
    if event.size > state.params.max_blob_bytes:
        return on_training_failed(view, TrainingFailed(event.round))
    view = replace(view, blobs=view.blobs | {event.candidate})
    if ahead is not None and not is_now:
        return replace(view, ahead=replace(ahead, trained=event)), ()
    return with_own(view, event), ()  # `gather` goes on from there


def on_training_failed(view: View, event: TrainingFailed) -> tuple[View, Effects]:
    """Try again, or hand the turn on. Raises Ignore."""
    state, current, ahead = view.state, view.open, view.ahead
    if ahead is not None and event.round == ahead.round:
        return replace(view, ahead=replace(ahead, failed=True)), ()
    if state is None or current is None or event.round != current.number:
        raise Ignore(f"a failed training for round {event.round}, which is over")
    if view.place != current.proposer:
        raise Ignore(f"a failed training for round {event.round}, which is not our turn")
    if view.work.turn_signed or view.work.gathering.own is not None:
        raise Ignore(f"a failed training for round {event.round}, whose turn is taken")
    failures = view.work.failures + 1
    if failures < MAX_FAILURES:
        return replace(view, work=replace(view.work, failures=failures, busy=False)), ()
    view = replace(view, work=replace(view.work, failures=failures, turn_signed=True))
    return view, (Sign(PassBody(run=state.run, round=current.number)),)


def on_scored(view: View, event: Scored) -> tuple[View, Effects]:
    """Sign our vote; one on the round just closed is still worth its credit. Raises Ignore."""
    return view, (Sign(vote_body(view, event.round, event.candidate, event.choice, event.gain)),)


def on_scoring_failed(view: View, event: ScoringFailed) -> tuple[View, Effects]:
    """Try again, or abstain: we cannot tell. Raises Ignore."""
    body = vote_body(view, event.round, event.candidate, Choice.ABSTAIN, Ppm(0))
    current = view.open
    if current is None or event.round != current.number:
        raise Ignore(f"a failed comparison for round {event.round}, which is over")
    failures = view.work.failures + 1
    if failures < MAX_FAILURES:
        return replace(view, work=replace(view.work, failures=failures, busy=False)), ()
    return replace(view, work=replace(view.work, failures=failures)), (Sign(body),)


def on_signed(view: View, event: Signed) -> tuple[View, Effects]:
    """Say, or write, what is in the journal now. Raises Ignore when the round has moved on."""
    state, body, signature = view.state, event.body, event.signature
    if state is None:
        raise Ignore("a signature without a run")
    match body:
        case PassBody() | PresentBody() if state.open is None or body.round != state.open.number:
            # After an outage a whole backlog is read at once: what was due in each of its rounds helps nobody.
            raise Ignore(f"our {kind_of(body)} in round {body.round} comes too late")
        case PassBody():
            return view, (Submit(PassRecord(body=body, sig=signature)),)
        case PresentBody():
            return view, (Submit(PresentRecord(body=body, sig=signature)),)
        case AddressBody():
            return view, (Submit(AddressRecord(body=body, sig=signature)),)
        case ProposalBody():
            proposal = Proposal(body=body, signature=signature)
            validate_proposal(state, proposal)
            if is_undrawn(state, open_of(state, body.round)):
                return with_proposal(view, proposal), (Submit(ProposeRecord(proposal=entry_of(proposal))),)
            return with_proposal(view, proposal), (Send(proposal, others(view, state.seated)),)
        case UpdateBody():
            return give_update(view, state, Update(body=body, signature=signature))
        case VoteBody():
            vote = Vote(body=body, signature=signature)
            last = state.last
            if last is not None and body.round == last.number and last.proposal is not None:
                if body.proposal != last.proposal.body.digest():
                    raise Ignore(f"our vote in round {body.round} is on a proposal that it did not decide")
                return view, (Submit(VoteRecord(proposal=entry_of(last.proposal), vote=vote_entry_of(vote))),)
            if state.open is None or body.round != state.open.number:
                raise Ignore(f"our vote in round {body.round} comes too late")
            return with_vote(view, vote), ()  # `tell` says it


def others(view: View, places: frozenset[int]) -> tuple[PeerId, ...]:
    """The peers in some places, ourselves left out."""
    return () if view.state is None else view.state.peers_of(places - {view.place})


def on_executed(view: View, event: Executed, now: Nanoseconds) -> View:
    """A settlement has taken effect, or never will. Raises Ignore when another one is open."""
    payment = view.payment
    if payment is None or not payment.is_open or payment.number != event.number:
        raise Ignore(f"what became of settlement {event.number}, which is over")
    return replace(view, payment=replace(payment, outcome=event, since=now))


def on_fetched(view: View, digest: Digest) -> View:
    """A blob is there."""
    return replace(view, blobs=view.blobs | {digest}, fetching=view.fetching - {digest})


def on_fetching_failed(view: View, digest: Digest, now: Nanoseconds) -> View:
    """Try again a little later; `advance` votes `unavailable` when it is time to vote.

    An update is not asked for again: its contributor alone has it.
    """
    view = without_update(view, digest)
    is_update = any(update.body.update == digest for update in view.work.gathering.updates)
    if is_update and (view.state is None or digest != view.state.head):
        return replace(view, fetching=view.fetching - {digest})
    wait = SECOND if view.state is None else view.state.params.window // 16
    return replace(view, fetching=view.fetching - {digest}, retry_at=Nanoseconds(now + wait))
