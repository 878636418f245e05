"""What is true: `apply` takes the state over one record, for daemon and auditor alike (SPEC.md, fold).

read(state, raw, stamp)          parse, then
  apply(state, record, stamp)    one branch a record; raises Ignore or Invalid, and then nothing has changed
    close_round                  ends the open round: head, credits, attendance
    open_round                   draws the next turn and freezes who takes part
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch

from protocol.errors import Ignore, Invalid
from protocol.ids import AccountId, Nanoseconds, Round, Tinybar, TopicId
from protocol.messages import Choice, Opening, Proposal, Vote
from protocol.records import (
    CloseRecord,
    Genesis,
    PassRecord,
    PresentRecord,
    ProposalEntry,
    ProposeRecord,
    Record,
    Stamp,
    VerdictRecord,
    VoteEntry,
    VoteRecord,
    parse_record,
    proposal_of,
    vote_of,
)
from protocol.rules import close_tally, count_of, proposer_for, shuffled, split_reward, tally
from protocol.signing import verify
from protocol.state import ClosedRound, Ending, OpenRound, RunState, Totals, state_digest


def read(state: RunState | None, topic: TopicId, raw: bytes, stamp: Stamp) -> RunState:
    """The state after one topic message. Raises Ignore or Invalid when the message has no effect."""
    record = parse_record(raw)
    if state is None:
        if not isinstance(record, Genesis):
            raise Ignore(f"a {record.op} record before the genesis")
        if record.topic != topic:
            raise Invalid(f"a genesis written for topic {record.topic}")
        return begin(record, stamp)
    return apply(state, record, stamp)


def begin(genesis: Genesis, stamp: Stamp) -> RunState:
    """The state after the genesis record: round 1 is open."""
    size = len(genesis.roster)
    state = RunState(
        run=genesis.run(),
        topic=genesis.topic,
        params=genesis.params,
        roster=genesis.roster,
        order=shuffled(size, stamp.running_hash),
        cursor=0,
        epoch=1,
        head=genesis.params.initial,
        head_size=0,
        absent=(0,) * size,
        inactive=frozenset(),
        returning=frozenset(),
        credits=(),
        totals=Totals(),
        open=None,
        last=None,
    )
    return open_round(state, Round(1), stamp)


def apply(state: RunState, record: Record, stamp: Stamp) -> RunState:
    """The state after one record. Raises Ignore or Invalid when it has no effect."""
    return _apply(record, state, stamp)


@singledispatch
def _apply(record: Record, state: RunState, stamp: Stamp) -> RunState:
    raise Invalid("a second genesis")  # the only record without a branch of its own


@_apply.register
def _(record: VerdictRecord, state: RunState, stamp: Stamp) -> RunState:
    proposal = check_proposal(state, record.proposal)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a verdict on round {current.number} after its deadline")
    votes = check_votes(state, current, proposal, record.votes)
    members = len(current.members)
    outcome = tally(count_of(counted_choices(current, votes), members), state.params)
    if outcome != record.outcome:
        if tally(count_of([vote.body.choice for vote in votes], members), state.params) == record.outcome:
            raise Ignore("a verdict with a vote that its voter has contradicted on the topic")
        raise Invalid(f"a verdict of {record.outcome} whose votes say {outcome or 'undecided'}")
    return close_round(state, current, outcome, proposal, votes, stamp)


@_apply.register
def _(record: VoteRecord, state: RunState, stamp: Stamp) -> RunState:
    proposal = check_proposal(state, record.proposal)
    if state.last is not None and proposal.body.round == state.last.number:
        return credit_late_vote(state, state.last, proposal, record.vote)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a vote in round {current.number} after its deadline")
    (vote,) = check_votes(state, current, proposal, (record.vote,))
    return replace(state, open=with_vote(with_proposal(current, proposal), vote))


@_apply.register
def _(record: ProposeRecord, state: RunState, stamp: Stamp) -> RunState:
    proposal = check_proposal(state, record.proposal)
    current = open_of(state, proposal.body.round)
    if stamp.time > current.deadline:
        raise Ignore(f"a proposal in round {current.number} after its deadline")
    changed = with_proposal(current, proposal)
    if changed is current:
        raise Ignore("a proposal that is on the topic already")
    return replace(state, open=changed)


@_apply.register
def _(record: CloseRecord, state: RunState, stamp: Stamp) -> RunState:
    if record.run != state.run:
        raise Invalid("a close of another run")
    current = open_of(state, record.round)
    if stamp.time <= current.deadline:
        raise Ignore(f"a close of round {current.number} before its deadline")
    if len(current.proposals) != 1:
        return close_round(state, current, "closed", None, (), stamp)
    proposal = current.proposals[0]
    votes = tuple(vote for vote in current.votes if vote.body.proposal == proposal.body.digest())
    outcome = close_tally(count_of(counted_choices(current, votes), len(current.members)), state.params)
    return close_round(state, current, outcome or "closed", proposal, votes, stamp)


@_apply.register
def _(record: PassRecord, state: RunState, stamp: Stamp) -> RunState:
    if record.body.run != state.run:
        raise Invalid("a pass of another run")
    current = open_of(state, record.body.round)
    verify(state.roster[current.proposer].key, "pass", record.body, record.sig)
    if stamp.time > current.deadline:
        raise Ignore(f"a pass of round {current.number} after its deadline")
    if current.proposals:
        raise Invalid("a pass after a proposal of the same round")
    return close_round(state, current, "passed", None, (), stamp)


@_apply.register
def _(record: PresentRecord, state: RunState, stamp: Stamp) -> RunState:
    body = record.body
    if body.run != state.run:
        raise Invalid("a presence in another run")
    open_of(state, body.round)
    if body.member >= len(state.roster):
        raise Invalid("a presence of nobody in the roster")
    verify(state.roster[body.member].key, "present", body, record.sig)
    if body.member not in state.inactive or body.member in state.returning:
        raise Ignore("a presence of a member that counts already")
    return replace(state, returning=state.returning | {body.member})


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


def with_proposal(current: OpenRound, proposal: Proposal) -> OpenRound:
    """Take note of a proposal on the topic: at most two different ones are kept, which prove equivocation."""
    if any(proposal.body == seen.body for seen in current.proposals) or len(current.proposals) == 2:
        return current
    return replace(current, proposals=(*current.proposals, proposal))


def with_vote(current: OpenRound, vote: Vote) -> OpenRound:
    """Take note of a vote on the topic: the first counts, a different second makes it an abstention.

    Raises Ignore for a duplicate.
    """
    first = next((seen for seen in current.votes if seen.body.voter == vote.body.voter), None)
    if first is None:
        return replace(current, votes=(*current.votes, vote))
    if first.body == vote.body or vote.body.voter in current.doubled:
        raise Ignore("a vote that is on the topic already")
    return replace(current, doubled=current.doubled | {vote.body.voter})


def counted_choices(current: OpenRound, votes: Sequence[Vote]) -> list[Choice]:
    """What each vote counts as: an abstention where the topic holds a different vote of the same voter."""
    if not current.votes:
        return [vote.body.choice for vote in votes]
    on_topic = {vote.body.voter: vote.body for vote in current.votes}
    choices = []
    for vote in votes:
        voter = vote.body.voter
        honest = voter not in current.doubled and on_topic.get(voter, vote.body) == vote.body
        choices.append(vote.body.choice if honest else Choice.ABSTAIN)
    return choices


def close_round(
    state: RunState,
    current: OpenRound,
    ending: Ending,
    proposal: Proposal | None,
    votes: tuple[Vote, ...],
    stamp: Stamp,
) -> RunState:
    """End the open round, and open the next one."""
    proven = () if proposal is None else (proposal,)
    known = current.proposals + proven
    present = {vote.body.voter for vote in (*current.votes, *votes)}
    if known or ending == "passed":
        present.add(current.proposer)
    state = settle_attendance(state)
    closed = ClosedRound(
        number=current.number,
        ending=ending,
        members=current.members,
        proposer=current.proposer,
        proposal=proposal,
        votes=votes,
        counted=len(votes),
        present=frozenset(present),
        sequence=stamp.sequence,
        time=stamp.time,
    )
    if ending == "accepted" and proposal is not None:
        state = replace(state, head=proposal.body.candidate, head_size=proposal.body.size)
        state = with_credits(state, split_reward(state.params.reward_proposal, proposal.body.contributors))
    if ending in ("accepted", "rejected"):
        state = with_credits(state, [(account_of(state, v), state.params.reward_vote) for v in votes])
    totals = replace(state.totals, **{ending: getattr(state.totals, ending) + 1})
    state = replace(state, totals=totals, open=None, last=closed)
    if state.params.max_rounds and current.number >= state.params.max_rounds:
        return state
    return open_round(state, Round(current.number + 1), stamp)


def open_round(state: RunState, number: Round, stamp: Stamp) -> RunState:
    """Draw the next turn and freeze who takes part. When nobody is active, everybody is."""
    places = frozenset(range(len(state.roster)))
    inactive = state.inactive - state.returning
    absent = tuple(0 if place in state.returning else n for place, n in enumerate(state.absent))
    if inactive == places:
        inactive, absent = frozenset(), (0,) * len(places)
    members = places - inactive
    turn = proposer_for(state.order, state.cursor, members)
    order, epoch = state.order, state.epoch
    if turn is None:
        order, epoch = shuffled(len(places), stamp.running_hash), epoch + 1
        turn = proposer_for(order, 0, members)
    assert turn is not None, "a round has members, so an epoch has a turn"
    proposer, cursor = turn
    state = replace(
        state,
        order=order,
        cursor=cursor,
        epoch=epoch,
        absent=absent,
        inactive=inactive,
        returning=frozenset(),
    )
    opening = Opening(sequence=stamp.sequence, running_hash=stamp.running_hash, state=state_digest(state))
    deadline = Nanoseconds(stamp.time + state.params.window)
    return replace(state, open=OpenRound(number, opening, members, proposer, deadline))


def settle_attendance(state: RunState) -> RunState:
    """Count who was absent from the round before: late votes had until now.

    Where no proposal reached the topic only the proposer was absent: the others had nothing to vote on.
    """
    last = state.last
    if last is None:
        return state
    due = last.members if last.proposer in last.present and last.ending != "passed" else {last.proposer}
    absent, inactive = list(state.absent), set(state.inactive)
    for place in last.members:
        if place in last.present:
            absent[place] = 0
        elif place in due:
            absent[place] += 1
            if absent[place] >= state.params.inactive_after:
                inactive.add(place)
    return replace(state, absent=tuple(absent), inactive=frozenset(inactive))


def credit_late_vote(state: RunState, last: ClosedRound, proposal: Proposal, entry: VoteEntry) -> RunState:
    """Credit a vote that the record which closed its round left out. Raises Ignore or Invalid."""
    if last.proposal is None or proposal.body != last.proposal.body:
        raise Ignore(f"a vote on a proposal that round {last.number} did not decide")
    vote = vote_of(entry, state.run, last.number, last.proposal.body.digest())
    if any(vote.body.voter == seen.body.voter for seen in last.votes):
        raise Ignore("a vote that is on the topic already")
    validate_vote(state, last.members, last.proposer, vote)
    late = replace(last, votes=(*last.votes, vote), present=last.present | {vote.body.voter})
    state = replace(state, last=late)
    if last.ending in ("accepted", "rejected"):
        state = with_credits(state, [(account_of(state, vote), state.params.reward_vote)])
    return state


def account_of(state: RunState, vote: Vote) -> AccountId:
    """The account that a voter's credits go to."""
    return state.roster[vote.body.voter].account


def with_credits(state: RunState, grants: Sequence[tuple[AccountId, Tinybar]]) -> RunState:
    """Add what accounts have earned."""
    credits = dict(state.credits)
    for account, amount in grants:
        if amount:
            credits[account] = Tinybar(credits.get(account, 0) + amount)
    return replace(state, credits=tuple(sorted(credits.items())))
