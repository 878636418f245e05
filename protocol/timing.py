"""When a participant acts: deadlines and back-offs, all derived from the round's window (SPEC.md, step)."""

from protocol.ids import EPOCH, SECOND, Nanoseconds
from protocol.settlement import wind_up_time
from protocol.state import OpenRound, RunState
from protocol.view import Charge, Payment, View

CLOSE_MARGIN = SECOND
"""Our clock may be ahead of consensus time by so much."""


def alarm(view: View, now: Nanoseconds) -> Nanoseconds | None:
    """When a Tick is due at the latest, or None when only an event can change anything.

    After `advance` whatever was due is under way: a time in the past waits for an event, no Tick.
    """
    state, current, place = view.state, view.open, view.place
    if not view.live or state is None or place is None:
        return None
    times = [view.retry_at, *money_times(view, state, place)]
    if view.announced_at is not None:
        times.append(announce_time(view, state))
    if current is not None:
        times += (
            topic_time(state, current),
            last_call(state, current),
            close_time(view, state, current, place),
        )
        if place == current.proposer and state.params.contribution_window:
            times.append(gather_time(state, current))
        if view.work.told_at is not None and not view.work.told_all:
            times.append(tell_time(view, state))
        if view.work.decided_at is not None:
            times.append(verdict_time(view, state, current, place))
    return min((time for time in times if time > now), default=None)


def distance(state: RunState, place: int) -> int:
    """How many act before us; where no round is open any more, by place."""
    return place if state.open is None else state.ranks[place]


def back_off(state: RunState) -> Nanoseconds:
    """How much later the next wave acts: time for a record to come back, and for all of a roster in one window."""
    return Nanoseconds(state.params.window // 10)


def patience(state: RunState, place: int) -> Nanoseconds:
    """How long we leave it to those before us: each wave is twice as many as the one before it.

    One after the other, a large roster would either all act before the first one's record is back, or take hours.
    """
    return Nanoseconds(back_off(state) * distance(state, place).bit_length())


def gather_time(state: RunState, current: OpenRound) -> Nanoseconds:
    """When a proposer stops waiting for updates."""
    return Nanoseconds(current.deadline - state.params.window + state.params.gathering)


def topic_time(state: RunState, current: OpenRound) -> Nanoseconds:
    """When votes go to the topic: a quarter of the window before the deadline."""
    return Nanoseconds(current.deadline - state.params.window // 4)


def last_call(state: RunState, current: OpenRound) -> Nanoseconds:
    """When a voter stops waiting for a blob: after topic_time, when it may first hear of the proposal."""
    return Nanoseconds(current.deadline - state.params.window // 8)


def tell_time(view: View, state: RunState) -> Nanoseconds:
    """When all others hear our vote, too: where there is no verdict by then, one of them may have to submit it."""
    return Nanoseconds((view.work.told_at or 0) + back_off(state))


def verdict_time(view: View, state: RunState, current: OpenRound, place: int) -> Nanoseconds:
    """When we submit the verdict: when all votes are in or a grace is over, and a back-off by distance."""
    work, pause = view.work, back_off(state)
    if work.verdict_sent is not None:
        return Nanoseconds(work.verdict_sent + 2 * pause)
    grace = 0 if len(work.votes) == len(current.members) - 1 else pause
    return Nanoseconds((work.decided_at or 0) + grace + patience(state, place))


def close_time(view: View, state: RunState, current: OpenRound, place: int) -> Nanoseconds:
    """When we close the round: after the deadline, with a back-off by distance."""
    pause = back_off(state)
    if view.work.close_sent is not None:
        return Nanoseconds(view.work.close_sent + 2 * pause)
    return Nanoseconds(current.deadline + CLOSE_MARGIN + patience(state, place))


def announce_time(view: View, state: RunState) -> Nanoseconds:
    """When we say again where we listen, if that is not known by then."""
    return EPOCH if view.announced_at is None else Nanoseconds(view.announced_at + state.params.window)


def money_times(view: View, state: RunState, place: int) -> list[Nanoseconds]:
    """When something about money or faults may be due."""
    times = [charge_time(charge, state, place) for charge in view.charges]
    payment, end = view.payment, wind_up_time(state)
    if payment is not None:
        times += [turn_time(payment, state, place), record_time(payment, state, place)]
    if end is not None and not state.money.wound_up:
        times.append(Nanoseconds(end + SECOND))
    return times


def turn_time(payment: Payment, state: RunState, place: int) -> Nanoseconds:
    """When our turn to act on a settlement comes: who is nearer to the proposer saves the others the fees."""
    return Nanoseconds(payment.since + patience(state, place))


def record_time(payment: Payment, state: RunState, place: int) -> Nanoseconds:
    """When we put a record about a settlement on the topic, or do so again."""
    if payment.sent is not None:
        return Nanoseconds(payment.sent + 2 * back_off(state))
    return turn_time(payment, state, place)


def charge_time(charge: Charge, state: RunState, place: int) -> Nanoseconds:
    """When we put evidence on the topic, or do so again."""
    if charge.sent is not None:
        return Nanoseconds(charge.sent + 2 * back_off(state))
    return Nanoseconds((charge.since or 0) + patience(state, place))
