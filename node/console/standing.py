"""Who is who, and who has what: members and money of a run, as the operator's view says it."""

from collections.abc import Mapping
from dataclasses import dataclass

from node.console.history import History
from node.console.schema import MemberFacts, MoneyFacts, OwnFacts, TotalFacts
from node.net.transport import Contact
from protocol.ids import AccountId, PeerId
from protocol.membership import standing_of
from protocol.money import total_of
from protocol.state import RunState


@dataclass(frozen=True, slots=True)
class Link:
    """Whether a peer is connected, and since when it is or is not."""

    up: bool
    since_ms: int


def members_of(
    state: RunState,
    own: PeerId,
    history: History,
    links: Mapping[PeerId, Link],
    contacts: Mapping[PeerId, Contact],
) -> tuple[MemberFacts, ...]:
    """All who ever joined, by place."""
    earned = dict(state.money.earned)
    return tuple(
        _member(state, place, own, history, links, contacts, earned) for place in range(len(state.roster))
    )


def _member(
    state: RunState,
    place: int,
    own: PeerId,
    history: History,
    links: Mapping[PeerId, Link],
    contacts: Mapping[PeerId, Contact],
    earned: Mapping[AccountId, int],
) -> MemberFacts:
    member, deeds = state.roster[place], history.deeds(place)
    link, contact = links.get(member.peer), contacts.get(member.peer)
    up = contact.is_connected if contact is not None else link is not None and link.up
    return MemberFacts(
        place=place,
        peer=member.peer,
        account=member.account,
        standing=standing_of(state, place),
        is_self=member.peer == own,
        connected=up or member.peer == own,
        changed_ms=None if link is None else link.since_ms,
        address=None if contact is None else contact.address,
        latency=None if contact is None else contact.latency,
        received=0 if contact is None else contact.received,
        sent=0 if contact is None else contact.sent,
        refused_for=0.0 if contact is None else round(contact.refused_for, 1),
        absent=state.absent[place],
        last_round=deeds.last_round,
        last_vote=deeds.last_vote,
        proposals=deeds.proposals,
        accepted=deeds.accepted,
        votes=deeds.votes,
        stake=state.money.stakes[place],
        earned=earned.get(member.account, 0),
    )


def totals_of(state: RunState | None) -> TotalFacts:
    """How the rounds ended."""
    if state is None:
        return TotalFacts(accepted=0, rejected=0, neutral=0, closed=0, passed=0)
    told = state.totals
    return TotalFacts(
        accepted=told.accepted,
        rejected=told.rejected,
        neutral=told.neutral,
        closed=told.closed,
        passed=told.passed,
    )


def money_of(state: RunState | None) -> MoneyFacts:
    """Where the run's money is."""
    if state is None:
        return MoneyFacts(
            treasury=None, deposits=0, pool=0, at_stake=0, owed=0, paid=0, fees=0, settlement=None
        )
    money = state.money
    return MoneyFacts(
        treasury=money.treasury,
        deposits=money.deposits,
        pool=money.pool,
        at_stake=sum(money.stakes) + sum(part.amount for part in money.unbonding),
        owed=total_of(money.owed),
        paid=total_of(money.paid),
        fees=money.fees,
        settlement=None if money.settlement is None else money.settlement.number,
    )


def own_of(state: RunState | None, place: int | None, history: History) -> OwnFacts:
    """What the member at our place has done and earned; nothing, where we have no place."""
    trained, scored = history.last_training, history.last_comparison
    account = None if state is None or place is None else state.roster[place].account
    deeds = history.deeds(-1 if place is None else place)
    return OwnFacts(
        proposals=deeds.proposals,
        accepted=deeds.accepted,
        votes=deeds.votes,
        chances=deeds.chances,
        labels=None if trained is None else trained.labels_total,
        training_seconds=None if trained is None else trained.seconds,
        scoring_seconds=None if scored is None else scored.seconds,
        stake=0 if state is None or place is None else state.money.stakes[place],
        earned=0 if state is None or account is None else state.earned_by(account),
        owed=0 if state is None or account is None else dict(state.money.owed).get(account, 0),
        paid=0 if state is None or account is None else dict(state.money.paid).get(account, 0),
    )
