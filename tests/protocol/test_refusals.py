"""settle and rotate: who refuses its money, and who signs for the treasury."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import Ppm
from protocol.messages import Choice, Contributor
from protocol.money import TreasuryKeys
from protocol.settlement import payout_of
from protocol.transfers import SharedKey
from tests.protocol import acts
from tests.protocol.pays import opened, owing, pay, started
from tests.protocol.world import FEE, account, fold, verdict

# ---- refusals ----


def test_who_refuses_is_paid_alone_and_does_not_hold_up_the_others():
    run = opened()
    refuser, *others = [name for name, _ in run.now.money.owed]
    acts.pay_out(run, result="ACCOUNT_DELETED", moves={})
    run.put(acts.failed(run))
    paid = []
    for _ in range(3):
        run.put(acts.settle(run))
        ((name, _),) = run.now.money.settlement.payees
        if name == refuser:
            acts.pay_out(run, result="ACCOUNT_DELETED", moves={})
            run.put(acts.failed(run))
        else:
            pay(run)
            paid.append(name)
    assert sorted(paid) == others
    ((rest,), alone) = run.now.money.refusals, run.now.money.alone
    assert (rest.account, rest.count, rest.until, alone) == (refuser, 1, 1 + 2, {refuser})
    for count, until in ((2, 3 + 4), (3, 7 + 8), (4, 15 + 8)):
        while run.now.rounds < rest.until:
            with pytest.raises(Ignore):
                run.put(acts.settle(run))
            acts.pass_turns(run)
        run.put(acts.settle(run))
        acts.pay_out(run, result="ACCOUNT_DELETED", moves={})
        (rest,) = run.put(acts.failed(run)).money.refusals
        assert (rest.count, rest.until) == (count, until)
    acts.pass_turns(run, rest.until - run.now.rounds)
    run.put(acts.settle(run))
    state = pay(run)
    assert (state.money.refusals, state.money.alone, state.money.owed) == ((), frozenset(), ())


def test_those_of_the_same_snapshot_who_refused_nothing_are_paid_first():
    run = owing(12)
    run.put(acts.settle(run))
    tried = {name for name, _ in run.now.money.settlement.payees}
    acts.pay_out(run, result="ACCOUNT_DELETED", moves={})
    run.put(acts.failed(run))
    owed = {name for name, _ in run.now.money.owed}
    run.put(acts.settle(run))
    assert {name for name, _ in run.now.money.settlement.payees} == owed - tried
    pay(run)
    for left in range(9, 0, -1):
        assert len(run.now.money.owed) == left
        run.put(acts.settle(run))
        assert len(run.now.money.settlement.payees) == 1
        pay(run)


def test_new_earnings_do_not_wait_for_those_who_may_refuse():
    """A proposal with sixteen accounts that refuse does not keep the members waiting."""
    run = opened(started(2))
    pay(run)
    members = {name for name, _ in run.now.money.paid}
    refusers = tuple(Contributor(account=account(20 + n), share=Ppm(62_500)) for n in range(16))
    for _ in range(4):
        proposal = run.proposal(contributors=refusers)
        run.put(verdict(proposal, run.votes(proposal, Choice.APPROVE), "accepted"))
        run.put(acts.settle(run))
        assert {name for name, _ in run.now.money.settlement.payees} <= members
        pay(run)
        run.put(acts.settle(run))
        acts.pay_out(run, result="ACCOUNT_DELETED", moves={})
        assert not run.put(acts.failed(run)).money.alone & members


def test_who_took_money_before_is_not_paid_with_strangers():
    run = opened()
    pay(run)
    strangers = tuple(Contributor(account=account(n), share=Ppm(500_000)) for n in (20, 21))
    proposal = run.proposal(contributors=strangers)
    run.put(verdict(proposal, run.votes(proposal, Choice.APPROVE, Choice.APPROVE), "accepted"))
    seen = []
    for _ in range(2):
        run.put(acts.settle(run))
        seen.append({name for name, _ in run.now.money.settlement.payees})
        pay(run)
    assert seen[1] == {account(20), account(21)}
    assert seen[0] <= {account(n) for n in range(3)}
    assert run.now.money.owed == ()


# ---- rotation ----


def test_a_rotation_is_signed_on_the_ledger_like_a_payment():
    run = started()
    run.put(acts.rotate(run, (0, 2), 2))
    payout = payout_of(run.now)
    roster = run.now.roster
    assert payout.key == SharedKey(2, (roster[0].key, roster[2].key))
    assert (payout.payees, run.now.money.keys) == ((), TreasuryKeys(2, (0, 1, 2)))
    with pytest.raises(Invalid, match="by a CRYPTOTRANSFER"):
        run.put(acts.settled(run, acts.pay_out(run, name="CRYPTOTRANSFER")))
    state = pay(run)
    assert (state.money.keys, state.money.rotations, state.money.fees) == (TreasuryKeys(2, (0, 2)), 1, FEE)


def test_a_rotation_needs_the_keys_that_it_replaces():
    run = started()
    for signers, why in (((0,), "1 of 2 signatures"), ((), "0 of 2")):
        with pytest.raises(Invalid, match=why):
            run.put(acts.rotate(run, (0, 1, 2), 2, signers))
    with pytest.raises(Invalid, match="no member"):
        run.put(acts.rotate(run, (0, 3), 2))
    pay_rotation = acts.rotate(run, (1, 2), 2, (0, 1))
    run.put(pay_rotation)
    pay(run)
    with pytest.raises(Ignore, match="decided before"):
        run.put(pay_rotation)
    with pytest.raises(Invalid, match="1 of 2 signatures"):
        run.put(acts.rotate(run, (0, 1), 2, (0, 1)))
    with pytest.raises(Invalid, match="comes before"):
        run.put(acts.rotate(run, (0, 1), 2, (1, 2), number=3))


def test_a_rotation_that_failed_is_not_repeated_with_the_same_signatures():
    run = started()
    record = acts.rotate(run, (0, 1), 2)
    run.put(record)
    with pytest.raises(Ignore, match="still open"):
        run.put(acts.rotate(run, (0, 1), 2))
    state = acts.expire(run)
    assert (state.money.keys, state.money.alone, state.money.queue) == (TreasuryKeys(2, (0, 1, 2)), set(), ())
    with pytest.raises(Ignore, match="decided before"):
        run.put(record)
    assert run.put(acts.rotate(run, (0, 1), 2)).money.settlement.number == 2
    assert fold(run.topic.messages, run.ledger) == run.now
