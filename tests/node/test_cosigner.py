"""Seeing a settlement through: signed once, looked at until it is decided, and no trouble of the ledger ends it."""

from dataclasses import replace

import pytest

from ledger.topic import LedgerError
from node.cosigner import see_through
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar
from protocol.settlement import EXPIRY_MARGIN
from protocol.transfers import Payout, Transfer
from protocol.view import Executed

TREASURY = AccountId("0.0.1002")
PAYOUT = Payout(
    treasury=TREASURY,
    memo="7",
    opened=Nanoseconds(100 * SECOND),
    expires=Nanoseconds(200 * SECOND),
    fee=Tinybar(10),
    payees=((AccountId("0.0.2000"), Tinybar(5)),),
)
DONE = Transfer(
    id="0.0.2001-150-000000001?scheduled",
    name="CRYPTOTRANSFER",
    result="SUCCESS",
    time=Nanoseconds(150 * SECOND),
    memo="7",
    fee=Tinybar(1),
    moves=((TREASURY, -6),),
)


class Scripted:
    """A treasury that answers in turn; an error is raised. The last answer is repeated."""

    def __init__(self, signing: list[object], outcomes: list[object]) -> None:
        self.signing, self.outcomes = signing, outcomes
        self.signed = self.looked = 0

    async def sign(self, payout: Payout) -> object:
        self.signed += 1
        return answer(self.signing)

    async def outcome(self, payout: Payout) -> Transfer | None:
        self.looked += 1
        return answer(self.outcomes)


def answer(answers: list) -> object:
    given = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(given, Exception):
        raise given
    return given


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cosigner.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("node.cosigner.LONGEST_PAUSE", 0.002)


def at(seconds: float):
    return lambda: Nanoseconds(int(seconds * SECOND))


async def test_it_is_signed_once_and_looked_at_until_it_is_executed() -> None:
    treasury = Scripted(["signed"], [None, None, DONE])
    assert await see_through(treasury, 3, PAYOUT, at(120)) == Executed(3, DONE.id, succeeded=True)
    assert (treasury.signed, treasury.looked) == (1, 3)


async def test_trouble_with_signing_is_no_end() -> None:
    treasury = Scripted([LedgerError("away"), LedgerError("away"), "signed"], [DONE])
    assert (await see_through(treasury, 3, PAYOUT, at(120))).succeeded
    assert treasury.signed == 3


async def test_trouble_with_looking_is_no_end_and_signs_nothing_again() -> None:
    treasury = Scripted(["signed"], [LedgerError("away"), None, LedgerError("away"), DONE])
    assert (await see_through(treasury, 3, PAYOUT, at(120))).succeeded
    assert treasury.signed == 1


async def test_an_execution_that_failed_is_told_as_such() -> None:
    refused = replace(DONE, result="ACCOUNT_DELETED")
    treasury = Scripted(["signed"], [refused])
    assert await see_through(treasury, 3, PAYOUT, at(120)) == Executed(3, DONE.id, succeeded=False)


async def test_it_is_over_only_when_its_margin_is() -> None:
    over = PAYOUT.expires + EXPIRY_MARGIN
    times = iter([over - SECOND, over, over + 1])
    treasury = Scripted(["expired"], [None])
    assert await see_through(treasury, 3, PAYOUT, lambda: Nanoseconds(next(times))) == Executed(
        3, None, False
    )
    assert treasury.looked == 3


async def test_while_the_ledger_is_away_nothing_is_said_to_be_over() -> None:
    treasury = Scripted(["signed"], [LedgerError("away"), LedgerError("away"), DONE])
    assert (await see_through(treasury, 3, PAYOUT, at(10_000))).succeeded
