"""What a daemon tells its log about the run: what changed from one state to the next."""

import structlog

from protocol.params import Params
from protocol.settlement import is_paid_off
from protocol.state import RunState

log = structlog.get_logger("node.driver")


def report(before: RunState | None, state: RunState, live: bool) -> None:
    """Log what a record changed. live: whether it is news, and not what happened before we started."""
    if state.last is not None and (
        before is None or before.last is None or before.last.number != state.last.number
    ):
        last = state.last
        tell = log.info if live else log.debug
        tell("round closed", round=last.number, ending=last.ending, head=state.head, votes=last.counted)
        if state.open is None:
            log.info("run ended", rounds=last.number, head=state.head)
    if before is not None and live:
        report_members(before, state)
        report_rules(before.params, state.params)
        report_money(before, state)


def report_members(before: RunState, state: RunState) -> None:
    """Log who comes, who goes and who is thrown out."""
    expelled = state.seats.expelled - before.seats.expelled
    for place in sorted(state.seated - before.seated):
        log.info("a member takes part from now on", place=place, member=state.roster[place].peer)
    for place in sorted(before.seated - state.seated - expelled):
        log.info("a member has left", place=place, member=state.roster[place].peer)
    for place in sorted(expelled):
        log.warning("a member was thrown out", place=place, member=state.roster[place].peer)


def report_rules(before: Params, now: Params) -> None:
    """Log the parameters that are others from now on."""
    if before is not now:
        new = now.model_dump(mode="json")
        changed = {
            name: new[name] for name, old in before.model_dump(mode="json").items() if new[name] != old
        }
        log.info("the rules have changed", **changed)


def report_money(before: RunState, state: RunState) -> None:
    """Log who signs for the treasury from now on, and when there is nothing left to pay."""
    if before.money.keys != state.money.keys:
        keys = state.money.keys
        log.info("the treasury has other keys", required=keys.required, places=keys.places)
    if is_paid_off(state) and not is_paid_off(before):
        log.info("the run is over and everything is paid: this daemon can be stopped")


def open_number(state: RunState) -> int | None:
    """The number of the open round, or None when the run has ended."""
    return None if state.open is None else state.open.number
