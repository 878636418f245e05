"""SPEC.md, money: its example, played."""

import re
from pathlib import Path

import protocol
from protocol.ids import SECOND, Ppm
from protocol.messages import Choice, Contributor
from protocol.money import liabilities, total_of
from protocol.payments import SettledRecord, SettleRecord
from protocol.settlement import payout_of
from tests.protocol.world import TREASURY, Run, account, is_conserved, verdict

SPEC = (Path(protocol.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
COLUMNS = ("deposits", "pool", "stakes", "reserve", "owed", "paid", "fees")


def row(what, state):
    """One line of the table: what happened, and where the money is then."""
    money = state.money
    settlement = money.settlement
    amounts = {
        "deposits": money.deposits,
        "pool": money.pool,
        "stakes": sum(money.stakes),
        "reserve": settlement.reserve if settlement else 0,
        "owed": total_of(money.owed),
        "paid": total_of(money.paid),
        "fees": money.fees,
    }
    assert is_conserved(state)
    assert sum(amounts[name] for name in COLUMNS[1:]) == amounts["deposits"]
    assert liabilities(money) == amounts["deposits"] - amounts["paid"] - amounts["fees"]
    return f"| {what} | " + " | ".join(f"{amounts[name]:,}" for name in COLUMNS) + " |"


def played():
    """The rows of the example."""
    run = Run(
        5,
        reward_proposal=100_000,
        reward_per_ppm=1,
        reward_vote=1_000,
        penalty_rejected=50_000,
        stake_min=100_000,
        settle_every=2,
        settle_fee=10_000,
    )
    rows = [row("`fund` of 3,200,000", run.fund(3_200_000))]
    for place in range(5):
        run.topup(place, 100_000)
    rows.append(row("five `topup`s of 100,000", run.now))
    run.expire()  # a round of its own, in which nobody proposed, so that all stakes count in the next
    shares = (
        Contributor(account=account(7), share=Ppm(700_000)),
        Contributor(account=account(8), share=Ppm(300_000)),
    )
    proposal = run.proposal(contributors=shares)
    gains = (90_000, 70_000, 60_000, -10_000)
    choices = (Choice.APPROVE, Choice.APPROVE, Choice.APPROVE, Choice.REJECT)
    votes = [
        run.vote(proposal, voter, choice, gain=Ppm(gain))
        for voter, choice, gain in zip(run.voters, choices, gains, strict=True)
    ]
    rows.append(row("1. accepted", run.put(verdict(proposal, votes, "accepted"))))
    assert (run.now.earned_by(account(7)), run.now.earned_by(account(8))) == (35_000, 15_000)
    proposer, proposal = run.current.proposer, run.proposal("harm")
    rejections = run.votes(proposal, *[Choice.REJECT] * 4)
    rows.append(row("2. clearly rejected", run.put(verdict(proposal, rejections, "rejected"))))
    assert run.now.money.stakes[proposer] == 50_000
    assert run.current.members == frozenset(range(5)) - {proposer}
    rows.append(row("3. `settle`", run.put(SettleRecord(run=run.now.run, number=1))))
    payout = payout_of(run.now)
    moves = dict(payout.payees) | {TREASURY: -total_of(payout.payees)}
    run.time += SECOND
    paid = run.ledger.put(run.time, TREASURY, moves, payout.memo, fee=2_500)
    settled = SettledRecord(run=run.now.run, number=1, transaction=paid)
    rows.append(row("4. `settled`", run.put(settled)))
    return rows


def test_the_example_in_the_specification_is_what_the_code_does():
    header = "| | " + " | ".join(COLUMNS) + " |"
    table = "\n".join([header, "| --- |" + " --- |" * len(COLUMNS), *played()])
    (written,) = re.findall(r"<!-- example -->\n(.*?)<!-- /example -->", SPEC, re.DOTALL)
    assert written.strip() == table
