"""What a motion says, who may sign it, and what is wrong with it."""

import json
from typing import Any

import pytest

from node.identity import Identity, identity_of
from node.motions.drafts import (
    draft_end,
    draft_join,
    draft_leave,
    draft_params,
    draft_rotate,
    draft_upgrade,
    next_term,
)
from node.motions.files import Motion, MotionError, Signable
from node.motions.standing import Standing, counted, entitled, needed, objection, signed_by, signers
from node.motions.words import standing_words, words_of
from protocol.errors import ProtocolError
from protocol.fields import canonical
from protocol.fold import lookup
from protocol.ids import Nanoseconds, RunningHash, Tinybar, base64url, digest_of
from protocol.records import Stamp
from tests.protocol.world import PEERS, SECRETS, Run, account

HASH = RunningHash(base64url(bytes(48)))


def person(place: int) -> Identity:
    return identity_of(SECRETS[place])


def wrong(run: Run, motion: Motion) -> str | None:
    """What is wrong with a motion, were it the next record."""
    stamp = Stamp(len(run.topic.messages) + 1, Nanoseconds(run.time + 1), HASH)
    return objection(run.now, motion, stamp, run.ledger.find(lookup(run.now, motion, stamp)))


def sign(run: Run, motion: Signable, *places: int) -> Signable:
    for place in places:
        motion = signed_by(run.now, motion, person(place))
    return motion


@pytest.mark.parametrize("size", range(1, 9))
def test_the_signatures_that_are_needed_are_those_the_fold_asks_for(size: int) -> None:
    drafts = [
        lambda run: draft_end(run.now),
        lambda run: draft_params(run.now, {"round_window": "7"}),
        lambda run: draft_upgrade(run.now, "other", digest_of(b"other")),
        lambda run: draft_join(run.now, person(20), account(20), Tinybar(0), None),
        lambda run: draft_rotate(run.now, None, ()),
    ]
    for draft in drafts:
        run = Run(size, pool=10**12)
        motion = draft(run)
        enough = needed(run.now, motion)
        assert 0 < enough <= size == len(entitled(run.now, motion))
        assert wrong(run, motion) is None
        few, many = range(enough - 1), range(size - enough, size)
        with pytest.raises(ProtocolError, match=rf"with {enough - 1} of "):
            run.put(sign(run, motion, *few))
        run.put(sign(run, motion, *many))


def test_our_signature_goes_in_at_its_place_and_once() -> None:
    run = Run(4)
    motion = sign(run, draft_end(run.now), 2, 0, 3, 0)
    assert signers(motion) == (0, 2, 3)
    assert sign(run, motion, 2) == motion


def test_who_has_no_say_cannot_sign() -> None:
    run = Run(3)
    with pytest.raises(MotionError, match="none of the members with a say"):
        sign(run, draft_end(run.now), 7)
    with pytest.raises(MotionError, match="needs no signature of others"):
        signed_by(run.now, draft_leave(run.now, person(1)), person(2))
    rotated = draft_rotate(run.now, None, [PEERS[2]])
    assert rotated.body.keys == (0, 1)


def one(motion: Motion, **changes: Any) -> Motion:
    """A motion with another body, as a hostile author writes it."""
    value = json.loads(canonical(motion))
    value["body"] |= changes
    return type(motion).model_validate_json(json.dumps(value))


def test_nonsense_is_found_however_few_have_signed() -> None:
    run = Run(4, pool=10**12)
    params = draft_params(run.now, {"round_window": "7"})
    other = digest_of(b"other")
    cases = [
        (one(params, number=2), "amendment 2 comes before amendment 1"),
        (one(params, run=other), "of another run"),
        (
            one(params, params=json.loads(canonical(params))["body"]["params"] | {"initial": other}),
            "change the learner or the initial weights",
        ),
        (one(draft_rotate(run.now, None, ()), number=3), "rotation 3 comes before"),
        (
            one(draft_rotate(run.now, None, ()), keys=[0, 1, 7], required=2),
            "the key of somebody who is no member",
        ),
        (draft_join(run.now, person(2), account(2), Tinybar(0), None), "a join of a member"),
        (one(draft_join(run.now, person(2), account(2), Tinybar(0), None), term=1), "for term 1"),
        (
            one(draft_join(run.now, person(9), account(9), Tinybar(0), None), account="0.0.1002"),
            "the treasury",
        ),
        (
            one(draft_join(run.now, person(9), account(9), Tinybar(0), None), account="0.0.7"),
            "does not verify",
        ),
        (one(draft_leave(run.now, person(2)), member=1), "does not verify"),
    ]
    for motion, says in cases:
        found = wrong(run, motion)
        assert found is not None, says
        assert says in found
    assert wrong(run, params) is None


def test_a_signature_that_is_not_its_members_is_found() -> None:
    run = Run(4)
    good = sign(run, draft_end(run.now), 0)
    forged = good.model_copy(update={"signatures": ((1, good.signatures[0][1]),)})
    assert "does not verify" in str(wrong(run, forged))


def test_signatures_without_a_say_are_left_out() -> None:
    run = Run(4)
    motion = sign(run, draft_end(run.now), 0, 3)
    run.put(draft_leave(run.now, person(3)))
    while 3 in run.now.seated:
        run.put(run.pass_turn())
    assert signers(counted(run.now, motion)) == (0,)
    assert wrong(run, counted(run.now, motion)) is None
    run.put(counted(run.now, sign(run, motion, 1)))
    assert run.now.seats.ending


def test_who_was_a_member_joins_for_another_term() -> None:
    run = Run(3)
    run.put(draft_leave(run.now, person(1)))
    assert next_term(run.now, PEERS[1]) == 2
    while 1 in run.now.seated:
        run.put(run.pass_turn())
    motion = draft_join(run.now, person(1), account(9), Tinybar(0), None)
    assert wrong(run, motion) is None
    assert "  term 2: it was a member before" in words_of(run.now, motion)
    run.put(sign(run, motion, 0, 2))
    assert run.now.seats.joining == {1}


def test_changes_are_told_one_by_one_against_what_is_decided() -> None:
    run = Run(3)
    run.put(sign(run, draft_params(run.now, {"round_window": "7"}), 0, 1))
    again = draft_params(run.now, {"reward_vote": "150000000", "min_approvals": "1"})
    assert words_of(run.now, again) == [
        "params: amendment 2, from the next epoch on",
        "  min_approvals: by default -> 1",
        "  reward_vote: 0 tinybar (0 hbar) -> 150000000 tinybar (1.5 hbar)",
    ]
    assert again.body.params.round_window == 7


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "nothing is to change"),
        ({"round_window": "60"}, "nothing would change"),
        ({"initial": "x"}, "initial is not changed so"),
        ({"learner": "x"}, "roundabout motion upgrade"),
        ({"rounds": "3"}, "no parameter rounds"),
        ({"round_window": "0"}, "round_window"),
        ({"round_window": "1.5"}, "round_window"),
        ({"round_window": "9" * 5_000}, "round_window"),
        ({"round_window": "none"}, "round_window"),
        ({"admission": "all"}, "admission"),
        ({"admission": "open"}, "needs a stake"),
    ],
)
def test_rules_that_are_none_are_named(changes: dict[str, str], says: str) -> None:
    with pytest.raises(MotionError, match=says) as caught:
        draft_params(Run(3).now, changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_keys_that_are_none_are_named() -> None:
    run = Run(4)
    assert draft_rotate(run.now, None, ()).body.required == 3
    for required, says in ((2, "more than half"), (5, "more than half")):
        with pytest.raises(MotionError, match=says):
            draft_rotate(run.now, required, ())
    with pytest.raises(MotionError, match="no member"):
        draft_rotate(run.now, None, [PEERS[9]])
    with pytest.raises(MotionError, match="correct --learner or --spec"):
        draft_upgrade(run.now, "Other", "x")


def test_where_a_motion_stands_is_told() -> None:
    run = Run(3)
    standing = Standing(frozenset({0, 1, 2}), (1,), (2,), 2, None)
    assert standing_words(run.now, standing) == [
        "signatures: 1 of the 2 that it needs, from 3 who may sign",
        f"  signed by member 1 ({PEERS[1]})",
        f"  signed in vain by member 2 ({PEERS[2]}), who has no say in it",
    ]
    assert not standing.is_ready
