"""Members of a treasury pay what is prescribed: once, together, and whatever becomes of one of them."""

import time
from dataclasses import replace

import anyio
import coincurve
import pytest

from ledger.hedera import open_hedera
from ledger.hiero import AccountDeleteTransaction, AccountUpdateTransaction, Client
from ledger.hiero import AccountId as SdkAccount
from ledger.keys import signing_key
from ledger.outbox import Outbox, OverBudget
from ledger.treasury import Standing, Treasury
from protocol.ids import AccountId, Nanoseconds, Tinybar
from protocol.transfers import SCHEDULED, SharedKey
from tests.ledger.gate import gates
from tests.ledger.treasuries import (
    HBAR,
    TRANSFER_FEE,
    Council,
    add_signature,
    public,
    run,
    schedule,
)

AMOUNTS = tuple(1_000 * (i + 1) for i in range(9))
CREATE_FEE, SIGN_FEE, EXTRA_SIGNATURE_FEE = 10_000_000, 1_000_000, 100_000


def test_five_who_all_schedule_and_sign_at_once_pay_nine_payees_exactly_once(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        members = council.members
        found = await council.sign_all(payout, members)
        assert {signing.standing for signing in found} <= {Standing.SIGNED, Standing.EXECUTED}
        assert len({signing.schedule for signing in found if signing.schedule}) == 1
        assert await council.paid() == AMOUNTS
        left = 10 * HBAR - sum(AMOUNTS) - TRANSFER_FEE
        assert await council.balance(council.treasury) == left
        outcome = await members[0].outcome(payout)
        assert outcome is not None
        assert (outcome.succeeded, outcome.name, outcome.memo) == (True, "CRYPTOTRANSFER", "7")
        assert (outcome.fee, outcome.id.endswith(SCHEDULED)) == (TRANSFER_FEE, True)
        assert [outcome.moved(payee) for payee in council.payees] == list(AMOUNTS)

        before = [await council.balance(account) for account in council.accounts]
        again = await council.sign_all(payout, members + council.members)
        assert {signing.standing for signing in again} == {Standing.EXECUTED}
        assert await council.paid() == AMOUNTS
        assert [await council.balance(account) for account in council.accounts] == before

    run(localnet, test)


def test_two_signatures_do_not_pay_and_asking_again_costs_nothing(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        first, second, third = council.members[:3]
        made = await first.sign(payout)
        assert made.standing == Standing.SIGNED
        # The signature that paid for the schedule counts; the second one found it there.
        assert await council.balance(council.accounts[0]) == 100 * HBAR - CREATE_FEE
        assert await second.sign(payout) == made
        assert await council.balance(council.accounts[1]) == 100 * HBAR - CREATE_FEE - SIGN_FEE
        for _ in range(3):
            assert await first.sign(payout) == await second.sign(payout) == made
        assert await council.balance(council.accounts[1]) == 100 * HBAR - CREATE_FEE - SIGN_FEE
        assert await first.outcome(payout) is None
        assert set(await council.paid()) == {0}
        assert await third.sign(payout) == made
        assert await council.paid() == AMOUNTS

    run(localnet, test)


def test_what_was_paid_before_a_payout_was_opened_is_not_its_outcome(localnet):
    async def test(council: Council) -> None:
        before = council.payout()
        await council.sign_all(before, council.members[:3])
        old = await council.members[0].outcome(before)
        assert old is not None
        payout = replace(before, opened=Nanoseconds(old.time + 1), fee=Tinybar(before.fee + 1))
        assert await council.members[0].outcome(payout) is None
        await council.sign_all(payout, council.members[:3])
        assert await council.paid() == tuple(2 * amount for amount in AMOUNTS)

    run(localnet, test)


def test_a_crash_between_scheduling_and_signing_is_gone_on_from(localnet, tmp_path, monkeypatch):
    async def test(council: Council) -> None:
        payout = council.payout()
        account, key = council.accounts[0], council.keys[0]
        # A stranger's schedule is as good as ours, and lacks our signature.
        stranger_key = coincurve.PrivateKey()
        stranger = await council.new_account(stranger_key, 10 * HBAR)
        async with open_hedera(council.localnet.network, stranger, stranger_key.secret) as hedera:
            status, made = await schedule(hedera, payout)
        assert status == "SUCCESS"
        for _ in range(2):
            with Outbox.open(tmp_path / "outbox", Tinybar(100 * HBAR)) as outbox:
                opened = open_hedera(council.localnet.network, account, key.secret, outbox=outbox)
                async with opened as hedera:
                    with monkeypatch.context() as patch:
                        patch.setattr(Treasury, "_shown", cut)
                        with pytest.raises(RuntimeError, match="power cut"):
                            await Treasury(hedera).sign(payout)
        shown = await council.operator.mirror.schedule(made)
        assert shown is not None
        assert shown.signatures == ()
        with Outbox.open(tmp_path / "outbox", Tinybar(100 * HBAR)) as outbox:
            opened = open_hedera(council.localnet.network, account, key.secret, outbox=outbox)
            async with opened as hedera:
                signing = await Treasury(hedera).sign(payout)
        assert (signing.standing, signing.schedule) == (Standing.SIGNED, made)
        await council.sign_all(payout, council.members[1:3])
        assert await council.paid() == AMOUNTS

    async def cut(*_: object) -> None:
        raise RuntimeError("power cut")

    run(localnet, test)


def test_a_member_s_key_may_be_another_than_the_account_s(localnet):
    async def test(council: Council) -> None:
        payout = council.payout()
        key = coincurve.PrivateKey()
        account = await council.new_account(key, 10 * HBAR)
        async with open_hedera(council.localnet.network, account, key.secret) as hedera:
            signing = await Treasury(hedera, signing_key(council.keys[0].secret)).sign(payout)
            assert signing.standing == Standing.SIGNED
            # Two signatures in one transaction: none is paid for on its own.
            assert await council.balance(account) == 10 * HBAR - CREATE_FEE - EXTRA_SIGNATURE_FEE
            # The account's own key is none of the treasury's.
            assert (await Treasury(hedera).sign(payout)).standing == Standing.UNCHANGED
        await council.members[1].sign(payout)
        assert set(await council.paid()) == {0}
        async with open_hedera(council.localnet.network, account, key.secret) as hedera:
            await Treasury(hedera, signing_key(council.keys[2].secret)).sign(payout)
        assert await council.paid() == AMOUNTS

    run(localnet, test)


def test_an_outage_is_waited_for(localnet, monkeypatch):
    async def test(council: Council) -> None:
        payout = council.payout()
        (node,) = localnet.network.nodes.items()
        async with gates(node[1]) as (gate,):
            behind = replace(localnet.network, nodes={node[0]: gate.address})
            opened = open_hedera(behind, council.accounts[0], council.keys[0].secret)
            async with opened as hedera, anyio.create_task_group() as tasks:
                failed, renew = anyio.Event(), hedera.session.renew

                def told(client: Client) -> None:
                    renew(client)
                    failed.set()

                monkeypatch.setattr(hedera.session, "renew", told)
                await gate.close()
                tasks.start_soon(Treasury(hedera).sign, payout)
                await failed.wait()
                await gate.open()
            await council.sign_all(payout, council.members[1:3])
        assert await council.paid() == AMOUNTS

    run(localnet, test)


def test_what_is_signed_counts_against_the_spend_limit(localnet):
    async def test(council: Council) -> None:
        with Outbox.open(None, Tinybar(HBAR - 1)) as outbox:
            account, key = council.accounts[0], council.keys[0].secret
            async with open_hedera(council.localnet.network, account, key, outbox=outbox) as hedera:
                with pytest.raises(OverBudget):
                    await Treasury(hedera).sign(council.payout())

    run(localnet, test, payees=1)


def test_after_its_expiry_a_payout_is_never_paid(localnet):
    async def test(council: Council) -> None:
        payout = council.payout(life=4)
        made = [(await member.sign(payout)).schedule for member in council.members[:2]]
        while time.time_ns() < payout.expires:
            await anyio.sleep(0.05)
        assert made[0] is not None
        # Also by one whose clock is behind, and by the network itself.
        late = Treasury(council.hederas[2], now=lambda: payout.opened)
        assert (await council.members[2].sign(payout)).standing == Standing.EXPIRED
        assert await council.balance(council.accounts[2]) == 100 * HBAR
        for member in (council.members[2], late):
            assert (await member.sign(payout)).standing == Standing.EXPIRED
        for hedera in council.hederas[2:]:
            assert await add_signature(hedera, made[0]) == "INVALID_SCHEDULE_ID"
        assert await late.outcome(payout) is None
        assert set(await council.paid()) == {0}
        assert await council.balance(council.treasury) == 10 * HBAR

    run(localnet, test)


def test_a_deleted_payee_fails_the_payout_which_costs_its_fee(localnet):
    async def test(council: Council) -> None:
        key = coincurve.PrivateKey()
        gone = await council.new_account(key, HBAR)
        payees = (*council.payout().payees[:8], (gone, Tinybar(5)))
        payout = council.payout(payees=payees)
        await council.members[0].sign(payout)
        async with open_hedera(council.localnet.network, gone, key.secret) as hedera:
            await hedera.execute(lambda: deletion(gone, council.operator.account), "delete", HBAR)
        await council.sign_all(payout, council.members[1:3])
        outcome = await council.members[4].outcome(payout)
        assert outcome is not None
        assert (outcome.result, outcome.fee) == ("ACCOUNT_DELETED", TRANSFER_FEE)
        assert await council.balance(council.treasury) == 10 * HBAR - TRANSFER_FEE
        assert set(await council.paid()) == {0}
        assert (await council.members[3].sign(payout)).standing == Standing.EXECUTED
        # A payout to one who is gone already comes to the same.
        alone = council.payout("8", payees=((gone, Tinybar(5)),))
        await council.sign_all(alone, council.members[:3])
        outcome = await council.members[4].outcome(alone)
        assert outcome is not None
        assert outcome.result == "ACCOUNT_DELETED"

    def deletion(gone: AccountId, heir: AccountId) -> AccountDeleteTransaction:
        transaction = AccountDeleteTransaction()
        transaction.set_account_id(SdkAccount.from_string(gone))
        return transaction.set_transfer_account_id(SdkAccount.from_string(heir))

    run(localnet, test)


def test_a_payee_who_never_was_cannot_be_scheduled(localnet):
    async def test(council: Council) -> None:
        payout = council.payout(payees=((AccountId("0.0.99999999"), Tinybar(5)),))
        assert (await council.members[0].sign(payout)).standing == Standing.IMPOSSIBLE

    run(localnet, test, payees=1)


def test_a_payee_who_signs_for_what_it_gets_holds_a_payout_up_until_it_does(localnet):
    async def test(council: Council) -> None:
        key = coincurve.PrivateKey()
        shy = await council.new_account(key, 10 * HBAR)
        async with open_hedera(council.localnet.network, shy, key.secret) as hedera:
            update = AccountUpdateTransaction().set_account_id(SdkAccount.from_string(shy))
            update.set_receiver_signature_required(True)
            await hedera.execute(lambda: update, "update", HBAR)
            payees = (*council.payout().payees[:8], (shy, Tinybar(5)))
            payout, held = council.payout(payees=payees), council.payout("8", life=5, payees=payees)
            for each in (payout, held):
                await council.sign_all(each, council.members)
                assert await council.members[0].outcome(each) is None
            made = (await council.members[0].sign(payout)).schedule
            assert made is not None
            assert await add_signature(hedera, made) == "SUCCESS"
        outcome = await council.members[0].outcome(payout)
        assert outcome is not None
        assert outcome.succeeded
        while time.time_ns() < held.expires:
            await anyio.sleep(0.05)
        assert await council.members[0].outcome(held) is None
        assert (await council.paid())[:8] == AMOUNTS[:8]

    run(localnet, test)


def test_a_fee_limit_that_is_too_low_ends_a_payout_for_nothing(localnet):
    async def test(council: Council) -> None:
        payout = council.payout(fee=Tinybar(TRANSFER_FEE - 1))
        await council.sign_all(payout, council.members[:3])
        assert await council.members[0].outcome(payout) is None
        assert (await council.members[3].sign(payout)).standing == Standing.EXECUTED
        assert await council.balance(council.treasury) == 10 * HBAR

    run(localnet, test)


def test_a_rotation_needs_old_and_new_members_and_ends_the_old_ones_say(localnet):
    async def test(council: Council) -> None:
        keys = (council.keys[0], coincurve.PrivateKey(), coincurve.PrivateKey())
        key = SharedKey(2, tuple(map(public, keys)))
        rotation = council.payout("8", payees=(), key=key)
        await council.sign_all(rotation, council.members[:3])
        # Three of the old five, but one only of the new three.
        assert await council.members[0].outcome(rotation) is None
        account = await council.new_account(keys[1], 50 * HBAR)
        async with open_hedera(council.localnet.network, account, keys[1].secret) as hedera:
            new = Treasury(hedera)
            assert (await new.sign(rotation)).standing == Standing.SIGNED
            outcome = await new.outcome(rotation)
            assert outcome is not None
            assert (outcome.succeeded, outcome.name) == (True, "CRYPTOUPDATEACCOUNT")
            shown = await council.operator.mirror.account(council.treasury)
            assert shown.key is not None
            assert [public(each).hex() in shown.key.key for each in (*keys, council.keys[1])] == [
                True,
                True,
                True,
                False,
            ]

            payout = council.payout("9")
            found = await council.sign_all(payout, council.members[1:])
            assert {signing.standing for signing in found} == {Standing.UNCHANGED}
            assert set(await council.paid()) == {0}
            await new.sign(payout)
            assert set(await council.paid()) == {0}
            await council.members[0].sign(payout)
            assert await council.paid() == AMOUNTS

    run(localnet, test)
