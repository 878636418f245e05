"""What each participant did and earned, from the closed rounds of a run alone."""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any, get_args

from protocol.ids import AccountId, Tinybar
from protocol.messages import Choice
from protocol.rules import split_reward
from protocol.state import ClosedRound, Ending, RunState

Cast = tuple[Choice, bool, bool]
"""A vote; whether it came late, and whether it is paid."""
_EITHER = tuple(product((False, True), repeat=2))
ENDINGS: tuple[Ending, ...] = get_args(Ending)


def participants(state: RunState, rounds: Sequence[ClosedRound]) -> list[dict[str, Any]]:
    """Every member of the roster, in order of place, as plain JSON values; amounts in tinybar."""
    credits, places = dict(state.credits), range(len(state.roster))
    turns: list[list[ClosedRound]] = [[] for _ in places]
    cast: list[Counter[Cast]] = [Counter() for _ in places]
    absences = [0 for _ in places]
    for closed in rounds:
        turns[closed.proposer].append(closed)
        paid = closed.ending in ("accepted", "rejected")
        for seat, vote in enumerate(closed.votes):
            cast[vote.body.voter][vote.body.choice, seat >= closed.counted, paid] += 1
        for place in absent_from(closed):
            absences[place] += 1
    return [
        {
            "member": place,
            "peer": member.peer,
            "account": member.account,
            **_turns(state, turns[place]),
            **_votes(state, cast[place]),
            "absences": absences[place],
            "account_credits": credits.get(member.account, 0),
        }
        for place, member in enumerate(state.roster)
    ]


def _turns(state: RunState, turns: Sequence[ClosedRound]) -> dict[str, Any]:
    endings = Counter(r.ending for r in turns)
    return {
        "turns": len(turns),
        "proposed": sum(r.ending != "passed" and r.proposer in r.present for r in turns),
        **{ending: endings[ending] for ending in ENDINGS},
        "proposal_credits": endings["accepted"] * state.params.reward_proposal,
    }


def _votes(state: RunState, cast: Counter[Cast]) -> dict[str, Any]:
    return {
        "votes": {str(choice): sum(cast[choice, late, paid] for late, paid in _EITHER) for choice in Choice},
        "late_votes": sum(count for (_, late, _), count in cast.items() if late),
        "vote_credits": sum(count for (*_, paid), count in cast.items() if paid) * state.params.reward_vote,
    }


def absent_from(closed: ClosedRound) -> frozenset[int]:
    """Members who owed the topic a sign of life in a round and gave none (SPEC.md, settle_attendance)."""
    shown = closed.proposer in closed.present and closed.ending != "passed"
    due = closed.members if shown else frozenset({closed.proposer})
    return due - closed.present


def credited(state: RunState, closed: ClosedRound) -> dict[AccountId, Tinybar]:
    """What a round moved, by account: the proposal's reward and the votes', late ones included."""
    grants: list[tuple[AccountId, Tinybar]] = []
    if closed.ending == "accepted" and closed.proposal is not None:
        grants += split_reward(state.params.reward_proposal, closed.proposal.body.contributors)
    if closed.ending in ("accepted", "rejected"):
        reward = state.params.reward_vote
        grants += [(state.roster[vote.body.voter].account, reward) for vote in closed.votes]
    amounts: dict[AccountId, Tinybar] = {}
    for account, amount in grants:
        if amount:
            amounts[account] = Tinybar(amounts.get(account, 0) + amount)
    return dict(sorted(amounts.items()))
