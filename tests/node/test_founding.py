"""Founding a run: whatever is wrong is said before anything has been paid for."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from node.config import ConfigError, LedgerAccess
from node.founding import LONGEST_ACCOUNT, Preset, Terms, check_genesis, found_run, founding_digest, params_of
from node.identity import identity_of
from node.progress import open_progress
from protocol.ids import AccountId, Digest, Tinybar, TopicId
from protocol.params import LearnerRef, Params
from protocol.parse import parse_record
from protocol.payments import FundRecord
from protocol.records import Genesis, Member, TreasuryEntry
from protocol.transfers import SharedKey
from tests.node.world import SPEC, StubLearner


class Crash(Exception):
    """The machine loses power."""


class Till:
    """A ledger that only notes what is paid for."""

    account = AccountId("0.0.2")

    def __init__(self, dies_at: str = "") -> None:
        self.paid: list[str] = []
        self.written: list[bytes] = []
        self.dies_at = dies_at
        self.done: dict[str, str] = {}
        """What the outbox keeps, by key."""

    def crash(self, point: str) -> None:
        if self.dies_at == point:
            self.dies_at = ""
            raise Crash

    async def create_account(self, key: SharedKey, initial: Tinybar, memo: str) -> AccountId:
        self.crash("treasury")
        assert (key.keys, initial) == (tuple(member(n).key for n in range(len(key.keys))), 0)
        self.paid.append("account")
        return AccountId("0.0.1000")

    async def transfer(self, to: AccountId, amount: Tinybar, memo: str, *, key: str) -> str:
        if key not in self.done:
            self.crash("transfer")
            self.paid.append(f"{amount} to {to}")
            self.done[key] = f"0.0.2-1700000000-{len(self.paid):09}"
        return self.done[key]

    async def create_topic(self, memo: str, keys: list[bytes]) -> TopicId:
        self.crash("topic")
        self.paid.append("topic")
        return TopicId("0.0.1001")

    def topic(self, topic: TopicId) -> "Till":
        return self

    async def submit(self, body: bytes, *, key: str) -> None:
        if key not in self.done:
            self.crash(parse_record(body).op)
            self.written.append(body)
            self.done[key] = "written"


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


ACCESS = LedgerAccess(network="localnet", account=AccountId("0.0.2"))
TERMS = Terms(2, Tinybar(500))
ROSTER = [member(0), member(1), member(2)]


def digest(terms: Terms = TERMS, access: LedgerAccess = ACCESS) -> Digest:
    return founding_digest(check_genesis(PARAMS, ROSTER, terms), access, terms)


@pytest.mark.parametrize("point", ["treasury", "topic", "genesis", "transfer", "fund"])
async def test_a_founding_goes_on_where_it_was_interrupted(tmp_path: Path, point: str) -> None:
    till, file = Till(dies_at=point), tmp_path / "progress.json"
    with pytest.raises(Crash):
        await found_run(till, PARAMS, ROSTER, "a run", TERMS, open_progress(file, digest()))
    for _ in range(2):
        progress = open_progress(file, digest())
        founded = await found_run(till, PARAMS, ROSTER, "a run", TERMS, progress)
    assert till.paid == ["account", "topic", "500 to 0.0.1000"]
    begun, fund = map(parse_record, till.written)
    assert isinstance(begun, Genesis)
    assert isinstance(fund, FundRecord)
    assert begun.treasury is not None
    assert (begun.treasury.account, begun.treasury.required) == (founded.treasury, 2)
    assert (fund.run, fund.account, fund.amount) == (begun.run(), "0.0.2", 500)


@pytest.mark.parametrize(
    ("terms", "access"),
    [
        (Terms(3, Tinybar(500)), ACCESS),
        (Terms(2, Tinybar(501)), ACCESS),
        (Terms(2, Tinybar(500), anyone_writes=True), ACCESS),
        (TERMS, LedgerAccess(network="localnet", account=AccountId("0.0.3"))),
        (TERMS, LedgerAccess(network="testnet", account=AccountId("0.0.2"))),
    ],
)
async def test_another_founding_is_not_taken_for_the_same(
    tmp_path: Path, terms: Terms, access: LedgerAccess
) -> None:
    file = tmp_path / "progress.json"
    progress = open_progress(file, digest())
    await found_run(Till(), PARAMS, ROSTER, "a run", TERMS, progress)
    with pytest.raises(ConfigError, match=r"was begun \(topic 0\.0\.1001\)"):
        open_progress(file, digest(terms, access))


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff", b'{"of": 1}'])
def test_progress_that_cannot_be_read_is_named(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "progress.json"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"put .* aside"):
        open_progress(file, digest())


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (Terms(1), "more than half of its 3 keys"),
        (Terms(4), "more than half of its 3 keys"),
        (Terms(None, Tinybar(1)), "no pool to fund"),
    ],
)
async def test_terms_that_cannot_be_cost_nothing(terms: Terms, says: str) -> None:
    till = Till()
    with pytest.raises(ConfigError, match=says):
        await found_run(till, PARAMS, ROSTER, "a run", terms)
    assert till.paid == []


def test_a_stake_wants_a_treasury() -> None:
    staked = PARAMS.model_copy(update={"stake_min": 5})
    assert check_genesis(staked, ROSTER, TERMS).treasury is not None
    with pytest.raises(ConfigError, match="needs a treasury"):
        check_genesis(staked, ROSTER, Terms(None))
    assert check_genesis(staked, ROSTER, TERMS).treasury == TreasuryEntry(account=LONGEST_ACCOUNT, required=2)
