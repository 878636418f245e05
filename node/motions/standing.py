"""How a motion stands in a run as it is now: who may sign it, how many must, and what is wrong with it."""

import hashlib
from dataclasses import dataclass, replace

from coincurve import PrivateKey

from node.identity import Identity
from node.motions.files import Motion, MotionError, Signable
from node.reading import Reading
from protocol.errors import Invalid, ProtocolError
from protocol.fold import apply, lookup
from protocol.ids import PublicKey, Tinybar, peer_id_of
from protocol.membership import count_signatures
from protocol.motions import JoinRecord, LeaveRecord, RotateRecord
from protocol.payments import FundRecord, TopupRecord
from protocol.records import Stamp
from protocol.signing import sign
from protocol.state import RunState
from protocol.transfers import Transfer

# A key that stands in for every member's when we ask whether a motion would hold if all signed it.
_STAND_IN = hashlib.sha256(b"roundabout: whoever may sign").digest()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a motion stands."""

    entitled: frozenset[int]
    """Places of those who may sign it."""
    signed: tuple[int, ...]
    """Places of those who have."""
    void: tuple[int, ...]
    """Places of those who have signed it and may not, or no longer: they are left out on the topic."""
    needed: int
    """How many of them must."""
    objection: str | None
    """Why it would have no effect even were all to sign it; None: nothing is wrong with it."""
    after: int | None = None
    """The settlement that must be over before it can take effect, where it is a rotation and one is open."""

    @property
    def is_signed(self) -> bool:
        """Whether it would take effect on the topic, now or when what it must wait for is over."""
        return self.objection is None and len(self.signed) >= self.needed

    @property
    def is_ready(self) -> bool:
        """Whether it would take effect on the topic now."""
        return self.is_signed and self.after is None


def entitled(state: RunState, motion: Motion) -> frozenset[int]:
    """Places of those who may sign a motion."""
    if isinstance(motion, LeaveRecord | FundRecord | TopupRecord):
        return frozenset()
    if isinstance(motion, RotateRecord):
        return frozenset(state.money.keys.places)
    if isinstance(motion, JoinRecord):
        is_voted = state.params.admission == "vote"
        return state.open.members if is_voted and state.open is not None else frozenset()
    return state.staked


def needed(state: RunState, motion: Motion) -> int:
    """How many signatures a motion needs (SPEC.md, motions)."""
    voters = len(entitled(state, motion))
    if isinstance(motion, RotateRecord):
        return state.money.keys.required
    if isinstance(motion, JoinRecord):
        return voters // 2 + 1 if voters else 0
    return -(-2 * voters // 3)


async def standing(reading: Reading, motion: Motion) -> Standing:
    """How a motion stands in the run as it was last read. Raises LedgerError."""
    state = reading.run
    counting = counted(state, motion)
    void = tuple(place for place in signers(motion) if place not in signers(counting))
    found = await reading.find(lookup(state, motion, reading.next_stamp()))
    return Standing(
        entitled=entitled(state, motion),
        signed=signers(counting),
        void=void,
        needed=needed(state, motion),
        objection=objection(past(state, motion), counting, reading.next_stamp(found), found),
        after=settlement_before(state, motion),
    )


def settlement_before(state: RunState, motion: Motion) -> int | None:
    """The settlement that must be over before a motion can take effect, or None."""
    settlement = state.money.settlement
    return settlement.number if isinstance(motion, RotateRecord) and settlement is not None else None


def past(state: RunState, motion: Motion) -> RunState:
    """A run as if the settlement for which a motion must wait were over."""
    settlement = state.money.settlement
    if settlement is None or settlement_before(state, motion) is None:
        return state
    pool = Tinybar(state.money.pool + settlement.reserve)
    return replace(state, money=replace(state.money, pool=pool, settlement=None))


def signers(motion: Motion) -> tuple[int, ...]:
    """Places of those who have signed a motion."""
    if isinstance(motion, LeaveRecord | FundRecord | TopupRecord):
        return ()
    return tuple(place for place, _ in motion.signatures)


def counted(state: RunState, motion: Motion) -> Motion:
    """A motion with the signatures of those who may sign it now: others would be carried for nothing."""
    if isinstance(motion, LeaveRecord | FundRecord | TopupRecord):
        return motion
    places = entitled(state, motion)
    kept = tuple(entry for entry in motion.signatures if entry[0] in places)
    return motion.model_copy(update={"signatures": kept})


def objection(state: RunState, motion: Motion, stamp: Stamp, found: tuple[Transfer, ...] = ()) -> str | None:
    """Why a motion would have no effect even were all to sign it who may, or None."""
    try:
        if not isinstance(motion, LeaveRecord | FundRecord | TopupRecord):
            if motion.body.run != state.run:
                raise Invalid(f"a {motion.op} of another run")
            count_signatures(state, motion.op, motion.body, motion.signatures, entitled(state, motion))
            state, motion = all_signed(state, motion)
        apply(state, motion, stamp, found)
    except ProtocolError as error:
        return str(error)
    return None


def all_signed(state: RunState, motion: Signable) -> tuple[RunState, Signable]:
    """A run and a motion as if all who may had signed it: one key stands in for theirs.

    Who joins keeps its own key: by it the fold sees whether it is a member already.
    """
    places = entitled(state, motion)
    peer = peer_id_of(PublicKey(PrivateKey(_STAND_IN).public_key.format()))
    joiner = motion.body.peer if isinstance(motion, JoinRecord) else None
    roster = tuple(
        member.model_copy(update={"peer": peer}) if place in places and member.peer != joiner else member
        for place, member in enumerate(state.roster)
    )
    signature = sign(_STAND_IN, motion.op, motion.body)
    signatures = tuple((place, signature) for place in sorted(places))
    return replace(state, roster=roster), motion.model_copy(update={"signatures": signatures})


def signed_by(state: RunState, motion: Motion, identity: Identity) -> Signable:
    """A motion with our signature on it too, in order of place. Raises MotionError when it is not ours to sign."""
    if isinstance(motion, LeaveRecord | FundRecord | TopupRecord):
        raise MotionError(
            f"this {motion.op} needs no signature of others; put it on the topic with `motion submit`"
        )
    place = state.place_of(identity.peer)
    places = entitled(state, motion)
    if place is None or place not in places:
        whose = "holders of the treasury's keys" if isinstance(motion, RotateRecord) else "members with a say"
        raise MotionError(f"{identity.peer} is none of the {whose}: they alone may sign this {motion.op} now")
    others = [entry for entry in motion.signatures if entry[0] != place]
    ours = (place, sign(identity.secret, motion.op, motion.body))
    return motion.model_copy(update={"signatures": tuple(sorted([*others, ours]))})
