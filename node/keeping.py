"""Which blobs a node keeps, and which it forgets: a pure function of what it knows."""

from protocol.ids import Digest
from protocol.view import View

HEADS = 4
"""Heads before the present one that stay in the store, for those who come late."""


def with_head(heads: tuple[Digest, ...], view: View) -> tuple[Digest, ...]:
    """The last heads, the present one last."""
    state = view.state
    if state is None or heads[-1:] == (state.head,):
        return heads
    return (*(head for head in heads if head != state.head), state.head)[-1 - HEADS :]


def kept(view: View, heads: tuple[Digest, ...]) -> frozenset[Digest]:
    """What is voted on, built upon, or may be asked for, and what we have made ourselves; nothing else is kept.

    heads: the last ones, as `with_head` gathers them.
    """
    state, ahead = view.state, view.ahead
    if state is None:
        return frozenset()
    found = {state.params.initial, state.head, *heads} | view.blobs | view.fetching
    proposals = [view.work.proposal, None if state.last is None else state.last.proposal]
    if state.open is not None:
        proposals += state.open.proposals
    found |= {proposal.body.candidate for proposal in proposals if proposal is not None}
    if view.work.gathering.given is not None:  # after a restart it may be what an earlier life has made
        found.add(view.work.gathering.given.body.update)
    if ahead is not None:
        found |= {ahead.base} if ahead.trained is None else {ahead.base, ahead.trained.candidate}
    return frozenset(found)
