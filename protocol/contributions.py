"""What members make of the head for whose turn it is, and what becomes of it there (SPEC.md, contributions).

contribute        train for the proposer of the open round, and sign what comes of it
  give_update     tell the proposer
receive_update    the proposer hears of one
gather            fetches them, merges them, and proposes what comes of it
  on_merged       propose what our learner made of them
"""

from dataclasses import replace

from protocol.checks import validate_update
from protocol.errors import Ignore, Invalid
from protocol.ids import AccountId, Digest, Nanoseconds, PeerId, Ppm
from protocol.messages import MAX_CONTRIBUTORS, Contributor, ProposalBody, Update, UpdateBody
from protocol.state import OpenRound, RunState
from protocol.timing import gather_time
from protocol.view import (
    Ahead,
    Effects,
    Fetch,
    Gathering,
    Merge,
    Merged,
    MergingFailed,
    Send,
    Sign,
    Train,
    Trained,
    View,
)

WHOLE = Ppm(1_000_000)


def with_own(view: View, own: Trained) -> View:
    """What our learner has made for the open round."""
    return _with(view, replace(view.work.gathering, own=own))


def _with(view: View, gathering: Gathering) -> View:
    return replace(view, work=replace(view.work, gathering=gathering))


# ---- the contributor ----


def contribute(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Train from the head for who has the turn, unless we have done so ahead, and sign what comes of it."""
    gathering, ahead = view.work.gathering, view.ahead
    is_wanted = state.params.contribution_window and view.work.proposal is None
    if not is_wanted or place == current.proposer or place not in current.members:
        return view, ()
    if gathering.is_given or state.head not in view.blobs or now >= gather_time(state, current):
        return view, ()
    if ahead is None or (ahead.round, ahead.base) != (current.number, state.head):
        view = replace(view, ahead=Ahead(current.number, state.head))
        return view, (Train(current.number, state.head),)
    if ahead.trained is None:
        return view, ()  # our learner is at it, or failed: whoever has the turn does without us
    view = _with(replace(view, ahead=None), replace(gathering, own=ahead.trained, is_given=True))
    return view, (Sign(update_body(state, place, ahead.trained)),)


def update_body(state: RunState, place: int, own: Trained) -> UpdateBody:
    """Our update for the open round."""
    return UpdateBody(
        run=state.run,
        round=own.round,
        base=own.base,
        update=own.candidate,
        size=own.size,
        pieces=own.pieces,
        contributor=place,
    )


def give_update(view: View, state: RunState, update: Update) -> tuple[View, Effects]:
    """Tell the proposer, and nobody else, what we have for it. Raises Ignore when its round is over."""
    current = state.open
    if current is None or update.body.round != current.number or update.body.base != state.head:
        raise Ignore(f"our update in round {update.body.round} comes too late")
    view = _with(view, replace(view.work.gathering, is_given=True, given=update))
    return view, (Send(update, state.peers_of({current.proposer})),)


def say_update_again(view: View, peer: PeerId) -> Effects:
    """Tell the proposer again, where it is who has just (re)connected."""
    state, current, given = view.state, view.open, view.work.gathering.given
    if state is None or current is None or given is None or state.place_of(peer) != current.proposer:
        return ()
    return (Send(given, (peer,)),)


# ---- the proposer ----


def receive_update(view: View, state: RunState, current: OpenRound, update: Update) -> View:
    """Keep the first update of each contributor, while there is room and time. Raises Ignore or Invalid."""
    place = -1 if view.place is None else view.place
    validate_update(state, current, place, update)
    gathering, contributor = view.work.gathering, update.body.contributor
    known = next((each for each in gathering.updates if each.body.contributor == contributor), None)
    if known is not None:
        if known.body != update.body:
            raise Invalid(f"two different updates of member {contributor}")
        raise Ignore("an update that we know")
    if gathering.is_over or view.work.proposal is not None:
        # Too late for this round, but a sign that our next turn need not do without it.
        return replace(view, silent=view.silent - {contributor})
    if len(gathering.updates) - len(gathering.lost) >= MAX_CONTRIBUTORS - 1:
        raise Ignore("an update where as many as one candidate is made of are there")
    return _with(view, replace(gathering, updates=(*gathering.updates, update)))


def without_update(view: View, digest: Digest) -> View:
    """Do without those whose update could not be had."""
    gathering = view.work.gathering
    lost = {each.body.contributor for each in gathering.updates if each.body.update == digest}
    return _with(view, replace(gathering, lost=gathering.lost | lost)) if lost else view


def gather(
    view: View, state: RunState, current: OpenRound, place: int, now: Nanoseconds
) -> tuple[View, Effects]:
    """Fetch the others' updates; once nobody is waited for, merge them with ours, or propose ours alone."""
    gathering = view.work.gathering
    is_done = gathering.is_over or view.work.turn_signed or view.work.proposal is not None
    if place != current.proposer or is_done:
        return view, ()
    view, fetches = fetch_updates(view, state)
    is_late = now >= gather_time(state, current)
    if gathering.own is None:
        return view, fetches
    is_whole = {
        state.head,
        gathering.own.candidate,
    } <= view.blobs  # else one has rotted since, and is fetched again
    if not (is_late or (is_whole and is_complete(view, current, place))):
        return view, fetches
    here = updates_here(view)
    if state.params.contribution_window:
        view = replace(view, silent=silent_now(view, current, place, is_late))
    merging = tuple(sorted((each.body.contributor, each.body.update) for each in here)) if is_whole else ()
    view = _with(view, replace(gathering, is_over=True, merging=merging))
    if merging:
        return view, (*fetches, Merge(current.number, state.head, gathering.own.candidate, merging))
    view, effects = propose(view, state, current, gathering.own, alone(state, place))
    return view, fetches + effects


def fetch_updates(view: View, state: RunState) -> tuple[View, Effects]:
    """Ask each contributor for its update, once."""
    gathering, effects = view.work.gathering, []
    for update in gathering.updates:
        body = update.body
        if body.update in view.blobs | view.fetching or body.contributor in gathering.lost:
            continue
        effects.append(Fetch(body.update, body.size, state.peers_of({body.contributor}), body.pieces))
        view = replace(view, fetching=view.fetching | {body.update})
    return view, tuple(effects)


def updates_here(view: View) -> tuple[Update, ...]:
    """The updates that have come."""
    gathering = view.work.gathering
    return tuple(
        each
        for each in gathering.updates
        if each.body.update in view.blobs and each.body.contributor not in gathering.lost
    )


def is_complete(view: View, current: OpenRound, place: int) -> bool:
    """Whether there is nobody left to wait for: all have come, or cannot, or were silent last time."""
    here = {each.body.contributor for each in updates_here(view)}
    awaited = current.members - {place} - view.work.gathering.lost - view.silent
    return awaited <= here or len(here) >= MAX_CONTRIBUTORS - 1


def silent_now(view: View, current: OpenRound, place: int, is_late: bool) -> frozenset[int]:
    """Whom our next turn does not wait for: who withheld its update, or had all the time and none came."""
    here = {each.body.contributor for each in updates_here(view)}
    missing = current.members - {place} if is_late else frozenset[int]()
    if len(here) >= MAX_CONTRIBUTORS - 1:
        missing = frozenset()  # there was no room for more
    return (view.silent | view.work.gathering.lost | missing) - here


def on_merged(view: View, event: Merged) -> tuple[View, Effects]:
    """Propose what our learner made of all updates, and name those whose work is in it. Raises Ignore."""
    state, current, place, own = _merging(view, event.round)
    gathering = view.work.gathering
    if event.size > state.params.max_blob_bytes:
        return propose(view, state, current, own, alone(state, place))
    places = (place, *(contributor for contributor, _ in gathering.merging))
    contributors = contributors_of(
        [(state.roster[each].account, share) for each, share in zip(places, event.shares, strict=True)]
    )
    kept = {own.candidate, event.candidate, event.base}
    merged = {digest for _, digest in gathering.merging} - kept  # nobody is to have them from us
    view = replace(view, blobs=view.blobs - merged | {event.candidate})
    made = Trained(event.round, event.base, event.candidate, event.size, event.pieces)
    return propose(view, state, current, made, contributors)


def on_merging_failed(view: View, event: MergingFailed) -> tuple[View, Effects]:
    """Propose what we have made alone. Raises Ignore."""
    state, current, place, own = _merging(view, event.round)
    return propose(view, state, current, own, alone(state, place))


def _merging(view: View, round: int) -> tuple[RunState, OpenRound, int, Trained]:
    """State, round, place and our own update, where we merge in that round. Raises Ignore."""
    state, current, place, gathering = view.state, view.open, view.place, view.work.gathering
    if state is None or current is None or place is None or current.number != round:
        raise Ignore(f"a merged candidate for round {round}, which is over")
    if gathering.own is None or not gathering.merging or view.work.turn_signed:
        raise Ignore(f"a merged candidate for round {round}, which wants none")
    return state, current, place, gathering.own


def propose(
    view: View,
    state: RunState,
    current: OpenRound,
    made: Trained,
    contributors: tuple[Contributor, ...],
) -> tuple[View, Effects]:
    """Sign our proposal."""
    body = ProposalBody(
        run=state.run,
        round=current.number,
        base=made.base,
        candidate=made.candidate,
        size=made.size,
        pieces=made.pieces,
        opening=current.opening,
        contributors=contributors,
        proposer=current.proposer,
    )
    return replace(view, work=replace(view.work, turn_signed=True)), (Sign(body),)


def alone(state: RunState, place: int) -> tuple[Contributor, ...]:
    """A member that made its candidate alone."""
    return (Contributor(account=state.roster[place].account, share=WHOLE),)


def contributors_of(shares: list[tuple[AccountId, Ppm]]) -> tuple[Contributor, ...]:
    """Whose work a candidate is: the shares of one account added up, those without any left out."""
    found: dict[AccountId, int] = {}
    for account, share in shares:
        found[account] = found.get(account, 0) + share
    return tuple(Contributor(account=account, share=Ppm(share)) for account, share in found.items() if share)
