"""What a motion says, in words for the people who are to sign it."""

from collections.abc import Iterator
from typing import Any

from node.amounts import hbar
from node.motions.files import Motion
from node.motions.standing import Standing
from protocol.ids import Tinybar
from protocol.membership import upcoming
from protocol.motions import EndRecord, JoinRecord, LeaveRecord, ParamsRecord, RotateRecord, UpgradeRecord
from protocol.params import Params
from protocol.payments import FundRecord
from protocol.state import RunState


def words_of(state: RunState, motion: Motion) -> list[str]:
    """What a motion would do, line by line."""
    if isinstance(motion, JoinRecord):
        return _join(motion)
    if isinstance(motion, LeaveRecord):
        return [f"leave: {member(state, motion.body.member)} leaves at the end of this epoch"]
    if isinstance(motion, ParamsRecord):
        changes = [f"  {line}" for line in changes_of(upcoming(state), motion.body.params)]
        return [f"params: amendment {motion.body.number}, from the next epoch on", *changes]
    if isinstance(motion, UpgradeRecord):
        now, new = upcoming(state).learner, motion.body.learner
        return [
            f"upgrade: amendment {motion.body.number}, from the next epoch on",
            f"  learner: {now.name} -> {new.name}",
            f"  spec: {now.spec} -> {new.spec}",
        ]
    if isinstance(motion, EndRecord):
        return [f"end: amendment {motion.body.number}; the run ends with the open round, and all are paid"]
    if isinstance(motion, RotateRecord):
        keys = [f"  {member(state, place)}" for place in motion.body.keys]
        needs = f"{motion.body.required} of these {len(motion.body.keys)} sign for the treasury"
        return [f"rotate: number {motion.body.number}; from then on {needs}", *keys]
    if isinstance(motion, FundRecord):
        return [f"fund: {motion.account} paid {hbar(motion.amount)} into the pool ({motion.transaction})"]
    return [f"topup: {motion.peer} has {hbar(motion.amount)} more at stake ({motion.transaction})"]


def standing_words(state: RunState, standing: Standing) -> list[str]:
    """Who has signed, how many must, and what is wrong."""
    lines = []
    if standing.needed or standing.signed:
        lines.append(
            f"signatures: {len(standing.signed)} of the {standing.needed} that it needs, "
            f"from {len(standing.entitled)} who may sign"
        )
        lines += [f"  signed by {member(state, place)}" for place in standing.signed]
    lines += [f"  signed in vain by {member(state, place)}, who has no say in it" for place in standing.void]
    if standing.objection is not None:
        lines.append(f"it would have no effect: {standing.objection}")
    elif standing.is_ready:
        lines.append("it would take effect now")
    elif standing.is_signed:
        lines.append(
            f"it would take effect once settlement {standing.after} is over; `motion submit` waits for that"
        )
    return lines


def changes_of(now: Params, new: Params) -> Iterator[str]:
    """Each parameter that differs: name, old value, new value."""
    for name in Params.model_fields:
        before, after = getattr(now, name), getattr(new, name)
        if before != after:
            yield f"{name}: {_value(name, before)} -> {_value(name, after)}"


def member(state: RunState, place: int) -> str:
    """A member by its place, with its peer id where the roster has one."""
    return f"member {place}" + (f" ({state.roster[place].peer})" if place < len(state.roster) else "")


def _join(motion: JoinRecord) -> list[str]:
    body = motion.body
    stake = f"a stake of {hbar(body.stake)}" if body.stake else "no stake"
    return [
        f"join: {body.peer} takes part, from the next epoch on",
        f"  with {stake}" + (f", paid by {body.transaction}" if body.transaction else ""),
        f"  its earnings go to {body.account}",
        f"  term {body.term}" + (": it was a member before" if body.term > 1 else ""),
    ]


def _value(name: str, value: Any) -> str:
    if value is not None and Params.model_fields[name].annotation is Tinybar:
        return f"{value} tinybar ({hbar(value)})"
    return "by default" if value is None else str(value)
