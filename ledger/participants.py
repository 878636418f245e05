"""What each participant did, earned, lost and is owed, from the closed rounds of a run and its book."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from ledger.book import Book
from protocol.ids import AccountId, Tinybar
from protocol.membership import standing_of
from protocol.messages import Choice
from protocol.state import ClosedRound, Ending, RunState

ENDINGS: tuple[Ending, ...] = get_args(Ending)


def participants(state: RunState, rounds: Sequence[ClosedRound], book: Book) -> list[dict[str, Any]]:
    """Every member of the roster, in order of place, as plain JSON values; amounts in tinybar."""
    places = range(len(state.roster))
    turns: list[list[ClosedRound]] = [[] for _ in places]
    cast: list[Counter[tuple[Choice, bool]]] = [Counter() for _ in places]
    absences, voted, proposed = ([0 for _ in places] for _ in range(3))
    for closed in rounds:
        turns[closed.proposer].append(closed)
        for seat, vote in enumerate(closed.votes):
            cast[vote.body.voter][vote.body.choice, seat >= closed.counted] += 1
        for place in absent_from(closed, book):
            absences[place] += 1
        money = book.rounds.get(closed.number)
        if money is not None:
            proposed[closed.proposer] += money.proposal
            for vote, reward in zip(closed.votes, money.votes, strict=True):
                voted[vote.body.voter] += reward
    lost = book.lost()
    return [
        {
            "member": place,
            "peer": member.peer,
            "account": member.account,
            "standing": standing_of(state, place),
            **_turns(turns[place]),
            **_votes(cast[place]),
            "absences": absences[place],
            "proposal_credits": proposed[place],
            "vote_credits": voted[place],
            **_money(state, place, lost[0].get(place, 0), lost[1].get(place, 0)),
        }
        for place, member in enumerate(state.roster)
    ]


def _turns(turns: Sequence[ClosedRound]) -> dict[str, Any]:
    endings = Counter(r.ending for r in turns)
    return {
        "turns": len(turns),
        "proposed": sum(r.ending != "passed" and r.proposer in r.present for r in turns),
        **{ending: endings[ending] for ending in ENDINGS},
    }


def _votes(cast: Counter[tuple[Choice, bool]]) -> dict[str, Any]:
    return {
        "votes": {str(choice): cast[choice, False] + cast[choice, True] for choice in Choice},
        "late_votes": sum(count for (_, late), count in cast.items() if late),
    }


def _money(state: RunState, place: int, penalties: int, faults: int) -> dict[str, int]:
    """What a member lost and has at stake, and what its account, which several may share, earned and got."""
    money, account = state.money, state.roster[place].account
    return {
        "lost_penalties": penalties,
        "lost_faults": faults,
        "staked": money.stakes[place],
        "unbonding": sum(part.amount for part in money.unbonding if part.place == place),
        "account_credits": dict(money.earned).get(account, 0),
        "account_owed": dict(money.owed).get(account, 0),
        "account_paid": dict(money.paid).get(account, 0),
    }


def absent_from(closed: ClosedRound, book: Book) -> frozenset[int]:
    """Members who owed the topic a sign of life in a round and gave none (SPEC.md, settle_attendance)."""
    shown = closed.proposer in closed.present and closed.ending != "passed"
    due = closed.members if shown and closed.number not in book.hurried else frozenset({closed.proposer})
    return due - closed.present


def credited(closed: ClosedRound, book: Book) -> dict[AccountId, Tinybar]:
    """What a round moved from the pool, by account: the proposal's reward and the votes', late ones included."""
    money = book.rounds.get(closed.number)
    return {} if money is None else dict(money.credits)
