"""Fewer members than a treasury's key asks for, a stranger, or a mirror cannot make it pay otherwise."""

import base64
from dataclasses import replace
from types import SimpleNamespace

import anyio
import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.hedera import Hedera
from ledger.hiero import AccountId as SdkAccount
from ledger.hiero import TransferTransaction
from ledger.keys import signing_key
from ledger.pages import ScheduleEntry, ScheduleId
from ledger.topic import LedgerError
from ledger.treasury import PLACES, Standing, Treasury, compare, prescribed, schedule_memos
from protocol.ids import SECOND, AccountId, Nanoseconds, PublicKey, Tinybar
from protocol.transfers import Payout, SharedKey
from tests.ledger.treasuries import HBAR, Council, add_signature, run, schedule

AMOUNTS = (1_000, 2_000)


def more(payout: Payout, attacker: AccountId) -> dict:
    (first, amount), *rest = payout.payees
    return {"body": prescribed(replace(payout, payees=((first, Tinybar(amount + 1)), *rest)))}


def another_payee(payout: Payout, attacker: AccountId) -> dict:
    return {"body": prescribed(replace(payout, payees=(*payout.payees, (attacker, Tinybar(1)))))}


def itself(payout: Payout, attacker: AccountId) -> dict:
    return {"body": prescribed(replace(payout, payees=((attacker, Tinybar(3_000)),)))}


def its_key(payout: Payout, attacker: AccountId) -> dict:
    key = SharedKey(1, (PublicKey(coincurve.PrivateKey().public_key.format()),))
    return {"body": prescribed(replace(payout, payees=(), key=key))}


def another_memo_inside(payout: Payout, attacker: AccountId) -> dict:
    return {"body": prescribed(replace(payout, memo="8"))}


def another_memo(payout: Payout, attacker: AccountId) -> dict:
    return {"memo": "8"}


def another_expiry(payout: Payout, attacker: AccountId) -> dict:
    return {"expires": payout.expires + 60 * SECOND}


def another_fee(payout: Payout, attacker: AccountId) -> dict:
    return {"body": prescribed(replace(payout, fee=Tinybar(5 * HBAR)))}


OTHERS = (
    more,
    another_payee,
    itself,
    its_key,
    another_memo_inside,
    another_memo,
    another_expiry,
    another_fee,
)


async def signers(hedera: Hedera, found: ScheduleId) -> set[str]:
    shown = await hedera.mirror.schedule(found)
    assert shown is not None
    assert shown.executed_timestamp is None
    return {base64.b64decode(item.public_key_prefix).hex() for item in shown.signatures}


async def pay_in_spite_of(council: Council, payout: Payout, wrong: ScheduleId) -> None:
    """Three honest members pay what is prescribed, and leave the other schedule alone."""
    bad = council.hederas[3:]
    await add_signature(bad[0], wrong)
    await add_signature(bad[1], wrong)
    found = await council.sign_all(payout, council.members[:3])
    assert wrong not in {signing.schedule for signing in found}
    assert await council.paid() == AMOUNTS
    honest = {hedera.session.public.to_bytes_raw().hex() for hedera in council.hederas[:3]}
    assert not honest & await signers(council.operator, wrong)


@pytest.mark.parametrize("other", OTHERS)
def test_what_two_of_five_schedule_otherwise_is_never_paid(localnet, other):
    async def test(council: Council) -> None:
        payout = council.payout()
        status, wrong = await schedule(council.hederas[3], payout, **other(payout, council.accounts[3]))
        assert status == "SUCCESS"
        await pay_in_spite_of(council, payout, wrong)

    run(localnet, test, payees=2)


def test_who_takes_a_payout_s_place_and_does_not_pay_is_passed_over(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        # The network takes these for the same as the right one.
        places = [
            await schedule(council.hederas[3], payout, payer=council.accounts[3]),
            await schedule(council.hederas[4], payout, payer=council.accounts[4], memo="7/2"),
        ]
        assert [status for status, _ in places] == ["SUCCESS"] * 2
        assert (await council.members[0].sign(payout)).standing == Standing.SIGNED
        for _, wrong in places:
            await add_signature(council.hederas[4], wrong)
        found = await council.sign_all(payout, council.members[:3])
        (made,) = {signing.schedule for signing in found if signing.schedule}
        assert made is not None
        shown = await council.operator.mirror.schedule(made)
        assert shown is not None
        assert (shown.memo, shown.payer_account_id) == ("7/3", payout.treasury)
        assert await council.paid() == AMOUNTS
        honest = {hedera.session.public.to_bytes_raw().hex() for hedera in council.hederas[:3]}
        for _, wrong in places:
            assert not honest & await signers(council.operator, wrong)
        outcome = await council.members[4].outcome(payout)
        assert outcome is not None
        assert outcome.memo == "7"

    run(localnet, test, payees=2)


def test_all_places_taken_is_an_error_that_says_so(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        stranger = council.operator
        async with anyio.create_task_group() as tasks:
            for memo in schedule_memos(payout):
                tasks.start_soon(take, stranger, payout, memo)
        with pytest.raises(LedgerError, match=f"others pay for all {PLACES} schedules"):
            await council.members[0].sign(payout)
        assert await council.members[0].outcome(payout) is None

    async def take(hedera: Hedera, payout: Payout, memo: str) -> None:
        await schedule(hedera, payout, memo=memo, payer=hedera.account)

    run(localnet, test, payees=2)


def test_nanoseconds_do_not_make_another_schedule(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        _, made = await schedule(council.hederas[3], payout, nanos=5)
        found = await council.sign_all(payout, council.members[:3])
        assert {signing.schedule for signing in found if signing.schedule} == {made}
        assert await council.paid() == AMOUNTS

    run(localnet, test, payees=2)


def test_one_member_alone_signs_once_however_often_it_tries(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        bad = council.hederas[4]
        made = (await Treasury(bad).sign(payout)).schedule
        assert made is not None
        assert await schedule(bad, payout) == ("IDENTICAL_SCHEDULE_ALREADY_CREATED", made)
        assert [await add_signature(bad, made) for _ in range(2)] == ["NO_NEW_VALID_SIGNATURES"] * 2
        assert (await Treasury(bad).sign(payout)).standing == Standing.SIGNED
        await council.members[0].sign(payout)
        assert set(await council.paid()) == {0}
        assert len(await signers(council.operator, made)) == 2

    run(localnet, test, payees=2)


def test_what_was_paid_is_not_paid_again_in_another_schedule(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        (made, *_) = [signing.schedule for signing in await council.sign_all(payout, council.members[:3])]
        assert await council.paid() == AMOUNTS
        assert made is not None
        bad = council.hederas[4]
        assert await schedule(bad, payout) == ("IDENTICAL_SCHEDULE_ALREADY_CREATED", made)
        assert await add_signature(bad, made) == "SCHEDULE_ALREADY_EXECUTED"
        later = replace(payout, expires=Nanoseconds(payout.expires + 60 * SECOND))
        again = [(await schedule(bad, payout, memo="7/2"))[1], (await schedule(bad, later))[1]]
        for wrong in again:
            await add_signature(council.hederas[3], wrong)
        for each in (payout, later):
            found = await council.sign_all(each, council.members[:3])
            assert {signing.standing for signing in found} == {Standing.EXECUTED}
        assert [len(await signers(council.operator, wrong)) for wrong in again] == [2, 2]
        assert await council.paid() == AMOUNTS

    run(localnet, test, payees=2)


def test_money_for_the_treasury_under_a_payout_s_memo_is_no_outcome(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        await council.hederas[4].transfer(council.treasury, Tinybar(1), payout.memo)
        assert await council.members[0].outcome(payout) is None
        await council.sign_all(payout, council.members[:3])
        assert await council.paid() == AMOUNTS

    run(localnet, test, payees=2)


def test_two_of_five_cannot_take_money_themselves(localnet):
    async def test(council: Council) -> None:
        def taken() -> TransferTransaction:
            transaction = TransferTransaction()
            transaction.add_hbar_transfer(SdkAccount.from_string(council.treasury), -HBAR)
            return transaction.add_hbar_transfer(SdkAccount.from_string(council.accounts[0]), HBAR)

        others = [signing_key(key.secret) for key in council.keys[1:3]]
        status = []
        for signed in (others[:1], others):
            try:
                await council.hederas[0].execute(taken, "take", HBAR, signers=signed)
                status.append("SUCCESS")
            except LedgerError as error:
                status.append(str(error))
        # Three are the treasury: what they agree on outside is for the audit to see.
        assert status == ["INVALID_SIGNATURE", "SUCCESS"]

    run(localnet, test, payees=1)


LIES = {
    "memo": {"memo": "8"},
    "admin key": {"admin_key": {"_type": "ED25519", "key": "00" * 32}},
    "expiry": {"expiration_time": "1.000000000"},
    "waiting for its expiry": {"wait_for_expiry": True},
    "transaction's fee limit": {"fee": 1},
    "transaction's memo": {"inner": "8"},
    "transaction": {"unknown": b"\xfa\x3e\x01x"},
}


def entry(payout: Payout, **lie) -> ScheduleEntry:
    body = prescribed(payout)
    if "fee" in lie:
        body.transactionFee = lie.pop("fee")
    if "inner" in lie:
        body.memo = lie.pop("inner")
    raw = body.SerializeToString() + lie.pop("unknown", b"")
    told = {
        "schedule_id": "0.0.77",
        "payer_account_id": payout.treasury,
        "memo": payout.memo,
        "expiration_time": f"{payout.expires // SECOND}.000000000",
        "transaction_body": base64.b64encode(raw).decode(),
    }
    return ScheduleEntry.model_validate(told | lie)


@pytest.mark.parametrize("what", LIES)
def test_a_mirror_that_shows_another_schedule_gets_no_signature(localnet, monkeypatch, what):
    async def test(council: Council) -> None:
        payout = council.payout()
        _, made = await schedule(council.operator, payout)
        mirror = council.hederas[0].mirror

        async def lying(_: ScheduleId) -> ScheduleEntry:
            return entry(payout, **LIES[what])

        monkeypatch.setattr(mirror, "schedule", lying)
        with pytest.raises(LedgerError, match=f"differs from payout 7 in its {what}, as the mirror"):
            await council.members[0].sign(payout)
        assert await signers(council.operator, made) == set()

    run(localnet, test, payees=1)


PAYOUT = Payout(
    treasury=AccountId("0.0.1001"),
    memo="7",
    opened=Nanoseconds(10**18),
    expires=Nanoseconds(10**18 + 600 * SECOND),
    fee=HBAR,
    payees=((AccountId("0.0.1002"), Tinybar(1)),),
)
payouts = st.builds(
    replace,
    st.just(PAYOUT),
    memo=st.sampled_from(["7", "8"]),
    expires=st.sampled_from([PAYOUT.expires, Nanoseconds(PAYOUT.expires + SECOND)]),
    fee=st.sampled_from([HBAR, Tinybar(HBAR + 1)]),
    payees=st.dictionaries(st.integers(1002, 1005), st.integers(1, 3), min_size=1).map(
        lambda found: tuple(
            (AccountId(f"0.0.{num}"), Tinybar(amount)) for num, amount in sorted(found.items())
        )
    ),
)


@given(payouts, payouts)
def test_two_payouts_are_the_same_schedule_only_when_they_are_equal(one, other):
    amounts = prescribed(one).cryptoTransfer.transfers.accountAmounts
    assert sum(item.amount for item in amounts) == 0
    assert len(amounts) == len(one.payees) + 1
    if one == other:
        compare(entry(one), other, prescribed(other), other.memo)
    else:
        with pytest.raises(LedgerError, match="it is not signed"):
            compare(entry(one), other, prescribed(other), other.memo)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payees": ()}, "neither pays"),
        ({"payees": tuple((AccountId(f"0.0.{n}"), Tinybar(1)) for n in range(1, 11))}, "neither pays"),
        ({"key": SharedKey(1, (PublicKey(bytes(33)),))}, "neither pays"),
        ({"payees": PAYOUT.payees * 2}, "twice"),
        ({"payees": ((PAYOUT.treasury, Tinybar(1)),)}, "the treasury itself"),
        ({"payees": ((AccountId("0.0.7"), Tinybar(0)),)}, "nothing or less"),
        ({"payees": ((AccountId("0.0.7"), Tinybar(-5)),)}, "nothing or less"),
        ({"expires": Nanoseconds(PAYOUT.expires + 1)}, "whole second"),
    ],
)
def test_what_is_no_payout_is_refused(changes, message):
    with pytest.raises(LedgerError, match=message):
        prescribed(replace(PAYOUT, **changes))


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((), None),
        (("ACCOUNT_DELETED",), "ACCOUNT_DELETED"),
        (("ACCOUNT_DELETED", "SUCCESS"), "SUCCESS"),
        (("SUCCESS", "ACCOUNT_DELETED"), "SUCCESS"),
        (("ACCOUNT_DELETED", "INSUFFICIENT_ACCOUNT_BALANCE"), "INSUFFICIENT_ACCOUNT_BALANCE"),
    ],
)
def test_a_success_outweighs_what_failed(results, expected):
    entries = [
        {
            "transaction_id": "0.0.2-1700000000-000000001",
            "consensus_timestamp": f"{PAYOUT.opened // SECOND + i}.000000000",
            "result": result,
            "name": "CRYPTOTRANSFER",
            "memo_base64": base64.b64encode(PAYOUT.memo.encode()).decode(),
            "charged_tx_fee": 5,
            "scheduled": True,
            "transfers": [{"account": PAYOUT.treasury, "amount": -5}, {"account": "0.0.802", "amount": 5}],
        }
        for i, result in enumerate(results)
    ]

    async def transactions(*_: object, **__: object) -> tuple[dict, ...]:
        return tuple(entries)

    key = signing_key(bytes(range(1, 33)))
    treasury = Treasury(SimpleNamespace(mirror=SimpleNamespace(transactions=transactions)), key)
    outcome = anyio.run(treasury.outcome, PAYOUT)
    assert (outcome and outcome.result) == expected


def test_a_body_that_is_none_is_the_mirror_s_fault():
    for raw in ("!", base64.b64encode(b"\xff\xff").decode()):
        with pytest.raises(LedgerError, match="use another mirror"):
            compare(entry(PAYOUT, transaction_body=raw), PAYOUT, prescribed(PAYOUT), PAYOUT.memo)
