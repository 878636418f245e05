"""Motions that nobody has signed yet, made from a run as it is now."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from node.identity import Identity
from node.motions.files import MotionError
from protocol.ids import AccountId, Digest, Tinybar
from protocol.membership import upcoming
from protocol.messages import first_error
from protocol.motions import (
    EndBody,
    EndRecord,
    JoinBody,
    JoinRecord,
    LeaveBody,
    LeaveRecord,
    ParamsBody,
    ParamsRecord,
    RotateBody,
    RotateRecord,
    UpgradeBody,
    UpgradeRecord,
)
from protocol.params import LearnerRef, Params
from protocol.signing import sign
from protocol.state import RunState
from protocol.transfers import TransactionId

FIXED = frozenset({"learner", "initial"})
"""Parameters that no motion for params changes."""


def next_term(state: RunState, peer: str) -> int:
    """The term that a peer would join for."""
    place = state.place_of(peer)
    return 1 if place is None else state.seats.terms[place] + 1


def draft_join(
    state: RunState, identity: Identity, account: AccountId, stake: Tinybar, paid: TransactionId | None
) -> JoinRecord:
    """Our own wish to take part, signed by us."""
    body = JoinBody(
        run=state.run,
        peer=identity.peer,
        account=account,
        stake=stake,
        transaction=paid,
        term=next_term(state, identity.peer),
    )
    return JoinRecord(body=body, sig=sign(identity.secret, "join", body), signatures=())


def draft_leave(state: RunState, identity: Identity) -> LeaveRecord:
    """Our own wish to leave, signed by us. Raises MotionError."""
    place = state.place_of(identity.peer)
    if place is None:
        raise MotionError(f"{identity.peer} never joined this run; there is nothing to leave")
    body = LeaveBody(run=state.run, member=place, term=state.seats.terms[place])
    return LeaveRecord(body=body, sig=sign(identity.secret, "leave", body))


def draft_params(state: RunState, changes: Mapping[str, str]) -> ParamsRecord:
    """Other rules; changes are texts by name, as `--set` takes them. Raises MotionError."""
    if not changes:
        raise MotionError("nothing is to change; give at least one --set key=value")
    values: dict[str, Any] = upcoming(state).model_dump(mode="json")
    for name, text in changes.items():
        if name in FIXED:
            raise MotionError(
                f"{name} is not changed so; for another learner see `roundabout motion upgrade`"
            )
        if name not in values:
            raise MotionError(f"there is no parameter {name}; see docs/parameters.md")
        values[name] = _value(text)
    try:
        params = Params.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise MotionError(f"these are no parameters: {first_error(error)}; see docs/parameters.md") from None
    if params == upcoming(state):
        raise MotionError("nothing would change; these parameters are decided already")
    body = ParamsBody(run=state.run, number=state.seats.amendments + 1, params=params)
    return ParamsRecord(body=body, signatures=())


def draft_upgrade(state: RunState, name: str, spec: str) -> UpgradeRecord:
    """Another learner. Raises MotionError."""
    try:
        learner = LearnerRef(name=name, spec=Digest(spec))
    except ValidationError as error:
        raise MotionError(f"this is no learner: {first_error(error)}; correct --learner or --spec") from None
    return UpgradeRecord(
        body=UpgradeBody(run=state.run, number=state.seats.amendments + 1, learner=learner), signatures=()
    )


def draft_end(state: RunState) -> EndRecord:
    """The end of the run."""
    return EndRecord(body=EndBody(run=state.run, number=state.seats.amendments + 1), signatures=())


def draft_rotate(state: RunState, required: int | None, without: Collection[str]) -> RotateRecord:
    """The treasury's keys to be those of all members who stay, but for some peers. Raises MotionError."""
    staying = sorted(state.seated - state.seats.leaving)
    places = [place for place in staying if state.roster[place].peer not in without]
    unknown = set(without) - {state.roster[place].peer for place in state.seated}
    if unknown:
        raise MotionError(f"{sorted(unknown)[0]} is no member; correct --without")
    needed = len(places) // 2 + 1 if required is None else required
    try:
        body = RotateBody(
            run=state.run, number=state.money.rotations + 1, required=needed, keys=tuple(places)
        )
    except ValidationError as error:
        raise MotionError(f"these are no keys: {first_error(error)}; correct --required") from None
    return RotateRecord(body=body, signatures=())


def _value(text: str) -> Any:
    """The JSON value of a text: a number or null; else the text itself."""
    if text in ("null", "none"):
        return None
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else text
