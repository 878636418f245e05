"""What is due: looked at afresh after each event, whatever the event was (SPEC.md, step).

advance           everything that is due and not yet under way
  follow_head     have the head's blob, and let the learner know
  announce        say where we listen
  take_turn       train when it is our turn; say that we are back
  contribute      train for who has the turn (contributions.py)
  gather          merge what the others contribute; propose
  cast_vote       fetch, compare, vote
  tell            say how we voted
  decide          submit the verdict
  reach_topic     put our own vote or proposal on the topic
  close           close the round after its deadline
  train_ahead     train for the next round meanwhile (ahead.py)
  pay, accuse     money and faults (treasurer.py)
"""

from bisect import bisect
from dataclasses import replace

from protocol.ahead import next_proposer, train_ahead
from protocol.contributions import contribute, gather, with_own
from protocol.errors import Ignore
from protocol.ids import Digest, Nanoseconds, PeerId, Ppm, Round
from protocol.messages import Choice, VoteBody
from protocol.parse import Record
from protocol.records import (
    AddressBody,
    CloseRecord,
    PresentBody,
    ProposeRecord,
    VerdictRecord,
    VoteRecord,
    entry_of,
    vote_entry_of,
)
from protocol.rounds import counted_choices, is_undrawn
from protocol.rules import count_of, tally
from protocol.state import OpenRound, RunState
from protocol.timing import announce_time, close_time, last_call, tell_time, topic_time, verdict_time
from protocol.treasurer import accuse, pay
from protocol.view import Adopt, Effects, Fetch, Score, Send, Sign, Submit, Train, View

MAX_SOURCES = 64
"""Peers that are asked for the head: enough for all of most rosters."""


def advance(view: View, now: Nanoseconds) -> tuple[View, Effects]:
    """Everything that is due and not yet under way."""
    state, place = view.state, view.place
    if not view.live or state is None or place is None:
        return view, ()
    effects: Effects = ()
    if place in state.seated | state.seats.joining:  # nobody serves blobs to who has left
        view, effects = follow_head(view, state, now)
    for duty in (pay, accuse):
        view, more = duty(view, state, place, now)
        effects += more
    if state.open is None or place not in state.seated:
        return view, effects
    for part in (announce, take_turn, contribute, gather, cast_vote, tell, decide, reach_topic, close):
        view, more = part(view, state, state.open, place, now)
        effects += more
    view, more = train_ahead(view, state, state.open, place)
    return view, effects + more


def follow_head(view: View, state: RunState, now: Nanoseconds) -> tuple[View, Effects]:
    """Have the head's blob, and let the learner know of it."""
    if state.head not in view.blobs:
        if is_fetching(view, state.head, now):
            return view, ()
        blob = Fetch(state.head, state.head_size, holders_of_head(view, state), state.head_pieces)
        return fetch(view, blob, now)
    if view.adopted == state.head:
        return view, ()
    done = Round(0) if state.last is None else state.last.number
    return replace(view, adopted=state.head), (Adopt(done, state.head),)


def holders_of_head(view: View, state: RunState) -> tuple[PeerId, ...]:
    """Who may have the head, the likeliest first: who made or compared the latest candidate; then our neighbours.

    Each has other neighbours, so that not all of a large roster ask the same few.
    """
    last, place, seated = state.last, view.place or 0, sorted(state.seated)
    known = [] if last is None else [last.proposer, *(vote.body.voter for vote in last.votes)]
    start = bisect(seated, place)
    near = (*seated[start:], *seated[:start])[:MAX_SOURCES]
    places = [each for each in known if each in state.seated and each != place]
    return tuple(state.roster[each].peer for each in dict.fromkeys((*places, *near)))[:MAX_SOURCES]


def is_fetching(view: View, digest: Digest, now: Nanoseconds) -> bool:
    """Whether a blob is on its way, or has just failed to come."""
    return digest in view.fetching or now < view.retry_at


def fetch(view: View, blob: Fetch, now: Nanoseconds) -> tuple[View, Effects]:
    """Ask for a blob, unless that is under way or has just failed."""
    if is_fetching(view, blob.digest, now):
        return view, ()
    others = tuple(dict.fromkeys(peer for peer in blob.sources if peer != view.peer))
    return replace(view, fetching=view.fetching | {blob.digest}), (replace(blob, sources=others),)


def take_turn(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Train when it is our turn, or take what we made ahead; say that we are back when we were left out."""
    work = view.work
    if place in state.inactive and place not in state.returning and not work.present_sent:
        body = PresentBody(run=state.run, round=current.number, member=place)
        return replace(view, work=replace(work, present_sent=True)), (Sign(body),)
    idle = work.proposal is None and not work.busy
    if place != current.proposer or not idle or state.head not in view.blobs or now > current.deadline:
        return view, ()
    ahead = view.ahead
    view = replace(view, ahead=None, work=replace(work, busy=True))
    if ahead is None or ahead.failed:
        return view, (Train(current.number, state.head),)
    if ahead.trained is None:
        return view, ()  # our learner is at it
    return with_own(view, ahead.trained), ()  # `gather` goes on from there


def announce(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Say on the topic where we listen, unless it is known there; at most once a round."""
    known = state.whereabouts[place]
    if view.addresses is None or view.addresses == (() if known is None else known.addresses):
        return view, ()
    if now < announce_time(view, state) or (known is not None and known.round >= current.number):
        return view, ()
    body = AddressBody(run=state.run, round=current.number, member=place, addresses=view.addresses)
    return replace(view, announced_at=now), (Sign(body),)


def cast_vote(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Fetch the candidate, compare it, and vote; when nobody serves it, say so before the deadline.

    Where it is the head that we lack, we cannot tell, and abstain.
    """
    work = view.work
    proposal = work.proposal
    if proposal is None or work.busy or place == current.proposer or place not in current.members:
        return view, ()
    if is_undrawn(state, current):
        return view, ()
    if any(vote.body.voter == place for vote in work.votes) or now > current.deadline:
        return view, ()
    candidate = proposal.body.candidate
    if candidate in view.blobs and state.head in view.blobs:
        return replace(view, work=replace(work, busy=True)), (Score(current.number, state.head, candidate),)
    if now >= last_call(state, current):
        choice = Choice.ABSTAIN if candidate in view.blobs else Choice.UNAVAILABLE
        body = vote_body(view, current.number, candidate, choice, Ppm(0))
        return replace(view, work=replace(work, busy=True)), (Sign(body),)
    if candidate in view.blobs:
        return view, ()
    if is_fetching(view, candidate, now):
        return view, ()
    # Whoever has voted has all of it; the others may have pieces of it by now.
    voters = [vote.body.voter for vote in work.votes]
    sources = dict.fromkeys((current.proposer, *voters, *sorted(current.members)))
    peers = tuple(state.roster[source].peer for source in sources)
    return fetch(view, Fetch(candidate, proposal.body.size, peers, proposal.body.pieces), now)


def tell(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Tell our vote to who submits the verdict and who bets on it; after a back-off without one, to all.

    The verdict has all votes: to tell everybody at once would cost each round n x n messages, and gain nothing.
    """
    work = view.work
    own = next((vote for vote in work.votes if vote.body.voter == place), None)
    if own is None or place == current.proposer or work.told_all:
        return view, ()
    hearers = current.members if state.params.committee_size else state.seated
    at_once = hearers & {current.proposer, next_proposer(state, current)}
    if work.told_at is None:
        work, places = replace(work, told_at=now), at_once
    elif now >= tell_time(view, state):
        work, places = replace(work, told_all=True), hearers - at_once
    else:
        return view, ()
    return replace(view, work=work), (Send(own, state.peers_of(places - {place})),)


def decide(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Submit the verdict once the tally is decided: the proposer first, others after a back-off."""
    work = view.work
    if work.proposal is None or place not in current.members or now > current.deadline:
        return view, ()
    if is_undrawn(state, current):
        return view, ()
    outcome = tally(count_of(counted_choices(current, work.votes), len(current.members)), state.params)
    if outcome is None:
        return view, ()
    if work.decided_at is None:
        view = replace(view, work=replace(work, decided_at=now))
    if now < verdict_time(view, state, current, place):
        return view, ()
    record = VerdictRecord(
        proposal=entry_of(work.proposal), votes=tuple(vote_entry_of(v) for v in work.votes), outcome=outcome
    )
    return replace(view, work=replace(view.work, verdict_sent=now)), (Submit(record),)


def reach_topic(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Near the deadline of a round that is still open, put our own vote or proposal on the topic."""
    work = view.work
    if work.proposal is None or work.vote_sent or not topic_time(state, current) <= now <= current.deadline:
        return view, ()
    entry = entry_of(work.proposal)
    own = next((vote for vote in work.votes if vote.body.voter == place), None)
    record: Record
    if place == current.proposer:
        record = ProposeRecord(proposal=entry)
    elif own is not None:
        record = VoteRecord(proposal=entry, vote=vote_entry_of(own))
    else:
        return view, ()
    return replace(view, work=replace(work, vote_sent=True)), (Submit(record),)


def close(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Close the round after its deadline: the proposer first, the others after a back-off."""
    if now < close_time(view, state, current, place):
        return view, ()
    record = CloseRecord(run=state.run, round=current.number)
    return replace(view, work=replace(view.work, close_sent=now)), (Submit(record),)


def vote_body(view: View, round: Round, candidate: Digest, choice: Choice, gain: Ppm) -> VoteBody:
    """Our vote on a candidate of the open round or the one before. Raises Ignore when it is neither's."""
    state, place = view.state, view.place
    if state is None or place is None:
        raise Ignore("a comparison without a run")
    last = state.last
    if state.open is not None and round == state.open.number:
        proposal = view.work.proposal
    elif last is not None and round == last.number:
        proposal = last.proposal
    else:
        proposal = None
    if proposal is None or proposal.body.candidate != candidate:
        raise Ignore(f"a comparison for round {round}, which is over")
    return VoteBody(
        run=state.run, round=round, proposal=proposal.body.digest(), voter=place, choice=choice, gain=gain
    )
