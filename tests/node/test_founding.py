"""Founding a run: whatever is wrong is said before anything has been paid for."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from node.config import ConfigError
from node.founding import Preset, found_run, params_of
from node.identity import identity_of
from protocol.ids import AccountId, Digest, TopicId
from protocol.params import LearnerRef, Params
from protocol.records import Member
from tests.node.world import SPEC, StubLearner


class Till:
    """A ledger that only notes what is paid for."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.written: list[bytes] = []

    async def create_topic(self, memo: str, keys: list[bytes]) -> TopicId:
        self.paid.append("topic")
        return TopicId("0.0.1001")

    def topic(self, topic: TopicId) -> "Till":
        return self

    async def submit(self, body: bytes, *, key: str) -> None:
        self.written.append(body)


def member(number: int) -> Member:
    secret = hashlib.sha256(b"member %d" % number).digest()
    return Member(peer=identity_of(secret).peer, account=AccountId(f"0.0.{2000 + number}"))


PARAMS = Params(learner=LearnerRef(name="stub", spec=SPEC.digest()), initial=Digest(SPEC.digest()))


async def test_a_run_is_founded(tmp_path: Path) -> None:
    till = Till()
    params = await params_of(
        Preset("stub", {}, {"round_window": 9}), StubLearner(), tmp_path, {"max_rounds": 2}
    )
    assert (params.round_window, params.max_rounds) == (9, 2)
    founded = await found_run(till, params, [member(0), member(1)], "a run")
    assert (founded.topic, founded.treasury) == ("0.0.1001", None)
    assert len(till.written) == 1


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"initial": "x"}, "params.initial is the learner's to say"),
        ({"learner": {}}, "params.learner is the learner's to say"),
        ({"rounds": 1}, "params.rounds"),
        ({"round_window": 0}, "params.round_window"),
        ({"round_window": 1.5}, "params.round_window"),
        ({"round_window": "1"}, "params.round_window"),
    ],
)
async def test_parameters_that_are_none_are_named(tmp_path: Path, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        await params_of(Preset("stub", {}, {}), StubLearner(), tmp_path, params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("roster", "says"),
    [
        ([member(0), member(0)], "in the roster twice"),
        ([member(number) for number in range(250)], "fewer members"),
    ],
)
async def test_a_roster_that_cannot_be_written_costs_nothing(roster: list[Member], says: str) -> None:
    till = Till()
    with pytest.raises(ConfigError, match=says):
        await found_run(till, PARAMS, roster, "a run")
    assert till.paid == []
