"""From one round to the next: who was there, what was earned, whose turn it is (SPEC.md, fold).

close_round          ends the open round: head, penalties, credits
  settle_attendance  of the round before it
  open_round         draws the next turn and freezes who takes part
credit_late_vote     until the next round closes
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from protocol.checks import validate_vote
from protocol.errors import Ignore
from protocol.ids import AccountId, Nanoseconds, Ppm, Round, Tinybar
from protocol.membership import new_epoch
from protocol.messages import Choice, Opening, Proposal, Vote
from protocol.money import Money, release, with_penalty, with_rewards
from protocol.records import Outcome, Stamp, VoteEntry, vote_of
from protocol.rules import (
    MILLION,
    committee_for,
    count_of,
    is_outvoted,
    proposal_penalty,
    proposal_reward,
    proposer_for,
    tally,
)
from protocol.state import ClosedRound, Ending, OpenRound, RunState, state_digest


def with_proposal(current: OpenRound, proposal: Proposal) -> OpenRound:
    """Take note of a proposal on the topic: at most two different ones are kept, which prove equivocation."""
    if any(proposal.body == seen.body for seen in current.proposals) or len(current.proposals) == 2:
        return current
    return replace(current, proposals=(*current.proposals, proposal))


def is_undrawn(state: RunState, current: OpenRound) -> bool:
    """Whether a committee will vote in a round, and is not drawn yet: its members are those it is drawn from."""
    return 0 < state.params.committee_size < len(current.members) - 1


def with_committee(state: RunState, current: OpenRound, stamp: Stamp) -> OpenRound:
    """Draw who votes, once, from the record that first fixes the candidate; then they are the round's members."""
    if not is_undrawn(state, current):
        return current
    proposer, size = current.proposer, state.params.committee_size
    drawn = committee_for(current.members, proposer, size, stamp.running_hash)
    return replace(current, members=drawn | {proposer})


def with_vote(current: OpenRound, vote: Vote) -> OpenRound:
    """Take note of a vote on the topic: the first counts, a different second makes it an abstention.

    Raises Ignore for a duplicate.
    """
    first = next((seen for seen in current.votes if seen.body.voter == vote.body.voter), None)
    if first is None:
        return replace(current, votes=(*current.votes, vote))
    if first.body == vote.body or vote.body.voter in current.doubled:
        raise Ignore("a vote that is on the topic already")
    return replace(current, seconds=(*current.seconds, vote))


def counted_choices(current: OpenRound, votes: Sequence[Vote]) -> list[Choice]:
    """What each vote counts as: an abstention where the topic holds a different vote of the same voter."""
    contradicted = contradicted_voters(current, votes)
    return [Choice.ABSTAIN if vote.body.voter in contradicted else vote.body.choice for vote in votes]


def outcomes_known(state: RunState, current: OpenRound, votes: Sequence[Vote]) -> set[Outcome | None]:
    """What votes say to whoever has seen none, some or all of the different ones that their voters put on the topic."""
    contradicted = contradicted_voters(current, votes)
    doubtful = [vote.body.choice for vote in votes if vote.body.voter in contradicted]
    sure = [vote.body.choice for vote in votes if vote.body.voter not in contradicted]
    approvals, abstentions = doubtful.count(Choice.APPROVE), doubtful.count(Choice.ABSTAIN)
    rejections = len(doubtful) - approvals - abstentions
    found: set[Outcome | None] = set()
    for a, j in product(range(approvals + 1), range(rejections + 1)):
        choices = [*sure, *[Choice.APPROVE] * a, *[Choice.REJECT] * j]
        choices += [Choice.ABSTAIN] * (len(votes) - len(choices))
        found.add(tally(count_of(choices, len(current.members)), state.params))
    return found


def contradicted_voters(current: OpenRound, votes: Sequence[Vote]) -> frozenset[int]:
    """Those of whom the topic holds a different vote."""
    if not current.votes:
        return frozenset()
    on_topic = {vote.body.voter: vote.body for vote in current.votes}
    differ = {v.body.voter for v in votes if on_topic.get(v.body.voter, v.body) != v.body}
    return current.doubled | differ


def close_round(
    state: RunState,
    current: OpenRound,
    ending: Ending,
    proposal: Proposal | None,
    votes: tuple[Vote, ...],
    stamp: Stamp,
) -> RunState:
    """End the open round, and open the next one."""
    present = {vote.body.voter for vote in (*current.votes, *votes)}
    if current.proposals or proposal is not None or ending == "passed":
        present.add(current.proposer)
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
    absent, inactive, money = settle_attendance(state, is_hurried(state, ending, stamp))
    if ending in ("accepted", "rejected"):
        money = with_contradictions(money, state, current, ending, votes)
    head, head_size, head_pieces = state.head, state.head_size, state.head_pieces
    if proposal is not None and ending in ("accepted", "rejected"):
        money = with_earnings(money, state, current, closed, proposal)
        if ending == "accepted":
            head, head_size = proposal.body.candidate, proposal.body.size
            head_pieces = proposal.body.pieces
    state = replace(
        state,
        head=head,
        head_size=head_size,
        head_pieces=head_pieces,
        absent=absent,
        inactive=inactive,
        money=release(money, current.number, [member.account for member in state.roster]),
        totals=replace(state.totals, **{ending: getattr(state.totals, ending) + 1}),
        open=None,
        last=closed,
    )
    if state.seats.ending or 0 < state.params.max_rounds <= current.number:
        return state
    return open_round(state, Round(current.number + 1), stamp)


def open_round(state: RunState, number: Round, stamp: Stamp) -> RunState:
    """Draw the next turn and freeze who takes part; the run ends when nobody is left."""
    state = with_members(with_returned(state))
    members = members_of(state)
    turn = proposer_for(state.order, state.cursor, members)
    if turn is None:
        state = with_members(new_epoch(state, number, stamp))
        members = members_of(state)
        turn = proposer_for(state.order, state.cursor, members)
    if turn is None:
        return state
    proposer, cursor = turn
    state = replace(state, cursor=cursor)
    opening = Opening(sequence=stamp.sequence, running_hash=stamp.running_hash, state=state_digest(state))
    deadline = Nanoseconds(stamp.time + state.params.window)
    return replace(state, open=OpenRound(number, opening, members, proposer, deadline))


def members_of(state: RunState) -> frozenset[int]:
    """Who takes part in the next round: those who belong to the run, have enough at stake, and are not absent."""
    return state.staked - state.inactive


def with_returned(state: RunState) -> RunState:
    """Let those count again who were absent and have said that they are back."""
    if not state.returning:
        return state
    absent = tuple(0 if place in state.returning else n for place, n in enumerate(state.absent))
    return replace(state, absent=absent, inactive=state.inactive - state.returning, returning=frozenset())


def with_members(state: RunState) -> RunState:
    """Where nobody would take part, those who were absent do again."""
    if members_of(state):
        return state
    return replace(state, inactive=frozenset(), absent=(0,) * len(state.roster))


def with_earnings(
    money: Money, state: RunState, current: OpenRound, closed: ClosedRound, proposal: Proposal
) -> Money:
    """Credit a proposal that was accepted, and all votes on one that was decided, from the pool."""
    if not money.pool:
        return money
    rewards = [(state.params.reward_vote, [(account_of(state, vote), MILLION)]) for vote in closed.votes]
    if closed.ending == "accepted":
        shares = [(contributor.account, int(contributor.share)) for contributor in proposal.body.contributors]
        gains = gains_of(current, closed.votes)
        rewards.insert(0, (proposal_reward(gains, len(current.members), state.params), shares))
    return with_rewards(money, rewards)


def gains_of(current: OpenRound, votes: Sequence[Vote]) -> list[Ppm]:
    """The gains that voters found and that count: none of whom the others clearly contradict."""
    choices = counted_choices(current, votes)
    deaf = contradicted_voters(current, votes) | outvoted_voters(votes, choices, len(current.members))
    heard = [
        (vote, choice)
        for vote, choice in zip(votes, choices, strict=True)
        if vote.body.voter not in deaf and choice is not Choice.UNAVAILABLE
    ]
    return gains_told([vote for vote, _ in heard], [choice for _, choice in heard])


def gains_told(votes: Sequence[Vote], choices: Sequence[Choice]) -> list[Ppm]:
    """The gain of each vote; what is neither for nor against tells of none."""
    decisive = (Choice.APPROVE, Choice.REJECT)
    return [
        vote.body.gain if choice in decisive else Ppm(0) for vote, choice in zip(votes, choices, strict=True)
    ]


def with_contradictions(
    money: Money, state: RunState, current: OpenRound, ending: Ending, votes: Sequence[Vote]
) -> Money:
    """Take the penalties of whom the others clearly contradict; of both sides where a rejection is contested.

    Who could not fetch a candidate that more than half of the members approve counts as rejecting it, for others it
    is no reason to have rejected.
    """
    choices, params, members = counted_choices(current, votes), state.params, len(current.members)
    count, rejects = count_of(choices, members), choices.count(Choice.REJECT)
    if is_outvoted(rejects, count.approvals + count.rejections - 1, members):
        penalty = proposal_penalty(gains_told(votes, choices), params)
        money = with_penalty(money, current.proposer, penalty)
    elif ending == "rejected":
        money = with_penalty(money, current.proposer, Tinybar(params.penalty_contested * count.rejections))
        for vote, choice in zip(votes, choices, strict=True):
            if choice in (Choice.REJECT, Choice.UNAVAILABLE):
                money = with_penalty(money, vote.body.voter, params.penalty_contested)
    for voter in sorted(outvoted_voters(votes, choices, members)):
        money = with_penalty(money, voter, params.penalty_outvoted)
    return money


def outvoted_voters(votes: Sequence[Vote], choices: Sequence[Choice], members: int) -> frozenset[int]:
    """Whom the others clearly contradict. choices: what each vote counts as."""
    count, rejects = count_of(choices, members), choices.count(Choice.REJECT)
    others = count.approvals + count.rejections - 1
    return frozenset(
        vote.body.voter
        for vote, choice in zip(votes, choices, strict=True)
        if choice is not Choice.ABSTAIN
        and is_outvoted(rejects if choice is Choice.APPROVE else count.approvals, others, members)
    )


def is_hurried(state: RunState, ending: Ending, stamp: Stamp) -> bool:
    """Whether a pass ends the round so soon that late votes on the one before had no time."""
    last = state.last
    return ending == "passed" and last is not None and stamp.time <= last.time + state.params.window // 4


def settle_attendance(state: RunState, hurried: bool) -> tuple[tuple[int, ...], frozenset[int], Money]:
    """Count who was absent from the round before, late votes had until now: absences, who is inactive, the money.

    Where no proposal reached the topic only the proposer was absent: the others had nothing to vote on.
    Nor were they where a hurried pass took their time: two members could cost the others their stakes.
    """
    last = state.last
    if last is None:
        return state.absent, state.inactive, state.money
    voted = last.proposer in last.present and last.ending != "passed"
    due = last.members if voted and not hurried else {last.proposer}
    absent, inactive, money = list(state.absent), set(state.inactive), state.money
    for place in sorted(last.members):
        if place in last.present:
            absent[place] = 0
        elif place in due:
            absent[place] += 1
            money = with_penalty(money, place, state.params.penalty_absent)
            if absent[place] >= state.params.inactive_after:
                inactive.add(place)
    return tuple(absent), frozenset(inactive), money


def credit_late_vote(state: RunState, last: ClosedRound, proposal: Proposal, entry: VoteEntry) -> RunState:
    """Credit a vote that the record which closed its round left out. Raises Ignore or Invalid."""
    if last.proposal is None or proposal.body != last.proposal.body:
        raise Ignore(f"a vote on a proposal that round {last.number} did not decide")
    vote = vote_of(entry, state.run, last.number, last.proposal.body.digest())
    if state.money.wound_up:
        raise Ignore("a vote after everything was paid back")
    if any(vote.body.voter == seen.body.voter for seen in last.votes):
        raise Ignore("a vote that is on the topic already")
    validate_vote(state, last.members, last.proposer, vote)
    late = replace(last, votes=(*last.votes, vote), present=last.present | {vote.body.voter})
    state = replace(state, last=late)
    if last.ending in ("accepted", "rejected"):
        reward = (state.params.reward_vote, [(account_of(state, vote), MILLION)])
        state = replace(state, money=with_rewards(state.money, [reward]))
    return state


def account_of(state: RunState, vote: Vote) -> AccountId:
    """The account that a voter's credits go to."""
    return state.roster[vote.body.voter].account
