"""The auditor and money: what records moved, what the treasury paid, and every way in which that can be wrong."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.ahead import Ahead
from ledger.audit import Audit, audit, report
from ledger.checkpoint import audit_of, body_of
from ledger.holding import Holding
from ledger.keys import sdk_key
from ledger.lookup import FileTransfers
from ledger.mirror import LAST
from ledger.pages import SavedHistory
from ledger.reading import take_saved
from ledger.verifiers import Verifiers
from protocol.errors import ProtocolError
from protocol.fields import canonical
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar
from protocol.messages import Choice
from protocol.motions import (
    EndBody,
    EndRecord,
    FaultRecord,
    JoinBody,
    JoinRecord,
    LeaveBody,
    LeaveRecord,
    ParamsBody,
    ParamsRecord,
    RotateBody,
    RotateRecord,
    SignedVote,
    UpgradeBody,
    UpgradeRecord,
)
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.signing import sign
from protocol.transfers import SharedKey
from tests.ledger.chains import TOPIC
from tests.ledger.moneyed import RULES, THIEF, MoneyedRun, finished, opened, paid, pay
from tests.protocol.world import FEE, FUNDER, PEERS, SECRETS, TREASURY, account, verdict, vote_record


def reasons(result: Audit) -> list[str]:
    return [violation.reason for violation in result.violations]


def shown(balance: int, key: Any = None) -> dict[str, Any]:
    return {"account": TREASURY, "balance": {"balance": balance, "timestamp": None}, "key": key}


def held(run: MoneyedRun) -> int:
    return sum(transfer.moved(TREASURY) for transfer in run.ledger.transfers)


def test_a_run_that_paid_adds_up_to_the_tinybar() -> None:
    run = paid()
    found = report(finished(run))
    money = found["money"]
    assert found["violations"] == []
    assert json.loads(json.dumps(found)) == found
    assert money["account"]["balance"] == money["liabilities"] == held(run)
    assert money["paid"] == sum(found["credits"].values()) > 0
    assert (money["fees"], money["owed"], money["reserve"]) == (FEE, 0, 0)
    (settlement,) = money["settlements"]
    assert (settlement["outcome"], settlement["fee"], settlement["kind"]) == ("settled", FEE, "payment")
    assert settlement["payees"] == found["credits"]
    assert settlement["transaction"] == run.ledger.transfers[-1].id
    assert settlement["closed"] == len(run.entries)
    assert money["accounts"][FUNDER] == {"earned": 0, "owed": 0, "paid": 0, "funded": 1_000_000}
    assert [event["op"] for event in found["events"]] == ["fund", *["topup"] * 4]
    assert all(m["account_paid"] == m["account_credits"] for m in found["participants"])
    assert [m["staked"] for m in found["participants"]] == [500] * 4
    last = money["history"][-1]
    assert last["sequence"] == len(run.entries)
    assert last["deposits"] == last["pool"] + last["stakes"] + last["paid"] + last["fees"] == 1_002_000


def test_every_point_of_the_balances_adds_up() -> None:
    for now in report(finished(paid()))["money"]["history"]:
        parts = ("pool", "stakes", "unbonding", "reserve", "owed", "paid", "fees")
        assert now["deposits"] == sum(now[part] for part in parts)


def test_a_payment_that_no_record_tells_of_yet_is_in_progress() -> None:
    run = opened()
    transaction = pay(run)
    found = report(finished(run))
    assert found["ok"]
    (settlement,) = found["money"]["settlements"]
    assert (settlement["outcome"], settlement["transaction"]) == ("executed", transaction)
    (debit,) = found["money"]["account"]["in_progress"]
    assert debit["amount"] == -sum(settlement["payees"].values()) - FEE
    assert found["money"]["account"]["balance"] == found["money"]["liabilities"] + debit["amount"]


def test_an_attempt_that_failed_is_in_progress_and_then_a_fee() -> None:
    run = opened()
    settlement = run.now.money.settlement
    assert settlement is not None
    run.time += SECOND
    run.ledger.put(run.time, TREASURY, {}, str(settlement.sequence), result="INVALID_ACCOUNT_ID")
    assert report(finished(run))["ok"]
    run.put(FailedRecord(run=run.now.run, number=1))
    found = report(finished(run))
    assert found["ok"]
    assert (found["money"]["settlements"][0]["outcome"], found["money"]["fees"]) == ("failed", FEE)
    assert found["money"]["account"]["balance"] == found["money"]["liabilities"]


def stolen(run: MoneyedRun, how: str) -> None:
    """What colluding holders of the treasury's keys may do with it."""
    settlement = run.now.money.settlement
    memo = str(settlement.sequence) if settlement else "5"
    payees = dict(settlement.payees) if settlement else {}
    first = min(payees, default=AccountId("0.0.2000"))
    run.time += SECOND
    if how == "another memo":
        run.ledger.put(run.time, TREASURY, {THIEF: 700, TREASURY: -700}, "hello")
    elif how == "another payee":
        pay(run, payees={**payees, THIEF: 700})
    elif how == "another amount":
        pay(run, payees={**payees, first: payees[first] + 1})
    elif how == "a dear fee":
        pay(run, fee=10_001)
    elif how == "a second payment":
        pay(run)
        run.time += SECOND
        pay(run)
    elif how == "an update":
        run.ledger.put(run.time, TREASURY, {}, memo, name="CRYPTOUPDATEACCOUNT")
    elif how == "a failure that costs more":
        run.ledger.put(run.time, TREASURY, {THIEF: 9, TREASURY: -9}, memo, result="INVALID_SIGNATURE")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("another memo", "no settlement asks for it"),
        ("another payee", "another amount than that of settlement 1"),
        ("another amount", "another amount than that of settlement 1"),
        ("a dear fee", "cost 10001 tinybar"),
        ("a second payment", "a second payment for settlement 1"),
        ("an update", "by a CRYPTOUPDATEACCOUNT"),
        ("a failure that costs more", "not what settlement 1 asks for"),
    ],
)
def test_what_no_settlement_explains_is_a_violation(how: str, says: str) -> None:
    run = opened()
    stolen(run, how)
    result = finished(run)
    thefts = [violation for violation in result.violations if violation.transaction]
    assert [violation.transaction for violation in thefts] == [run.ledger.transfers[-1].id]
    assert says in thefts[0].reason
    assert str(-run.ledger.transfers[-1].moved(TREASURY)) in thefts[0].reason
    if how == "another memo":
        assert f"700 to {THIEF}" in thefts[0].reason
        missing = [reason for reason in reasons(result) if "missing" in reason]
        assert missing == [
            f"the treasury {TREASURY} holds {held(run)} tinybar; {700 + FEE} of what it must hold are missing"
        ]


@pytest.mark.parametrize("how", ["a second payment", "another memo"])
def test_a_payment_after_the_one_that_was_recorded_is_a_violation(how: str) -> None:
    run = opened()
    settlement = run.now.money.settlement
    assert settlement is not None
    payees = settlement.payees
    run.put(SettledRecord(run=run.now.run, number=1, transaction=pay(run)))
    run.time += SECOND
    moves = {**dict(payees), TREASURY: -sum(a for _, a in payees)}
    run.ledger.put(run.time, TREASURY, moves, str(settlement.sequence))
    theft = next(violation for violation in finished(run).violations if violation.transaction)
    assert "settlement 1 was paid by" in theft.reason


def test_money_that_nobody_named_is_unclaimed() -> None:
    run = paid()
    run.time += SECOND
    gift = run.ledger.put(run.time, FUNDER, {FUNDER: -77, TREASURY: 77}, "with love")
    found = report(finished(run))
    assert found["ok"]
    (unclaimed,) = found["money"]["account"]["unclaimed"]
    assert (unclaimed["transaction"], unclaimed["amount"], unclaimed["memo"]) == (gift, 77, "with love")
    assert found["money"]["account"]["balance"] == found["money"]["liabilities"] + 77


def test_a_mirror_that_hides_a_debit_is_found_by_the_balance() -> None:
    run = paid()
    honest = report(finished(run, (shown(held(run)),)))
    assert [v["reason"] for v in honest["violations"]] == [
        f"the key of the treasury {TREASURY} is not any 3 of those of members 0, 1, 2, 3"
    ]
    run.time += SECOND
    run.ledger.put(run.time, TREASURY, {THIEF: 700, TREASURY: -700}, "hello")
    balance = held(run)
    run.ledger.transfers.pop()
    said = reasons(finished(run, (shown(balance),)))
    assert any(f"{700 + FEE} less than its transactions add up to" in reason for reason in said)
    assert any(f"{700 + FEE} of what it must hold are missing" in reason for reason in said)


def test_money_beyond_what_was_listed_is_no_violation() -> None:
    run = paid()
    result = finished(run, (shown(held(run) + 5),))
    assert result.checked is not None
    assert result.checked.unlisted == 5
    assert not any("missing" in reason or "less" in reason for reason in reasons(result))


def test_an_account_that_was_not_read_is_said_to_be_so() -> None:
    run = paid()
    assert report(run.audited())["money"]["account"] is None
    behind = Audit(TOPIC, run.find)
    for entry in run.entries:
        behind.add(entry)
    behind.holding = Holding(cut=Nanoseconds(behind.history.time - 1))
    behind.finish()
    assert (behind.checked, behind.violations) == (None, [])


def test_without_its_transactions_nothing_of_a_run_with_money_holds() -> None:
    run = paid()
    found = audit(TOPIC, run.entries)
    assert [v.sequence for v in found.violations][:2] == [2, 3]
    assert "is not on the ledger" in found.violations[0].reason


def test_members_come_and_go_in_the_report() -> None:
    run = paid()
    body = LeaveBody(run=run.now.run, member=2, term=1)
    run.put(LeaveRecord(body=body, sig=sign(SECRETS[2], "leave", body)))
    proposal = run.proposal()
    voter = next(place for place in run.voters if place != 2)
    votes = [run.vote(proposal, voter, choice) for choice in (Choice.APPROVE, Choice.REJECT)]
    first, second = (SignedVote(body=vote.body, sig=vote.signature) for vote in votes)
    run.put(FaultRecord(member=voter, first=first, second=second))
    signers = sorted(run.now.staked)
    ending = EndBody(run=run.now.run, number=1)
    run.put(EndRecord(body=ending, signatures=tuple((p, sign(SECRETS[p], "end", ending)) for p in signers)))
    found = report(finished(run))
    assert found["ok"]
    assert [event["op"] for event in found["events"]][-3:] == ["leave", "fault", "end"]
    assert found["events"][-2]["amount"] == 500
    member = found["participants"][voter]
    assert (member["lost_faults"], member["staked"], member["standing"]) == (500, 0, "expelled")
    assert found["participants"][2]["standing"] == "leaving"
    assert sum(now["deposits"] for now in found["money"]["history"][-1:]) == 1_002_000


def signed(run: MoneyedRun, kind: str, body: Any) -> tuple[Any, ...]:
    return tuple((place, sign(SECRETS[place], kind, body)) for place in sorted(run.now.staked))


def test_joins_rules_learners_and_keys_are_events() -> None:
    run = MoneyedRun(pool=1_000_000, **RULES)
    stake = run.pay("join", PEERS[4], 900)
    wants = JoinBody(
        run=run.now.run, peer=PEERS[4], account=account(4), stake=Tinybar(900), transaction=stake, term=1
    )
    run.put(
        JoinRecord(body=wants, sig=sign(SECRETS[4], "join", wants), signatures=signed(run, "join", wants))
    )
    rules = ParamsBody(
        run=run.now.run, number=1, params=run.now.params.model_copy(update={"reward_vote": 20})
    )
    run.put(ParamsRecord(body=rules, signatures=signed(run, "params", rules)))
    learner = run.now.params.learner.model_copy(update={"name": "better"})
    upgrade = UpgradeBody(run=run.now.run, number=2, learner=learner)
    run.put(UpgradeRecord(body=upgrade, signatures=signed(run, "upgrade", upgrade)))
    keys = RotateBody(run=run.now.run, number=1, required=2, keys=(0, 1))
    run.put(RotateRecord(body=keys, signatures=signed(run, "rotate", keys)))
    found = report(finished(run))
    assert found["ok"]
    joined, changed, upgraded, rotated = found["events"][1:]
    assert (joined["op"], joined["member"], joined["amount"]) == ("join", 4, 900)
    assert (joined["account"], joined["transaction"]) == (account(4), stake)
    assert changed["changes"] == {"reward_vote": ["10", "20"]}
    assert upgraded["changes"]["learner"][1].startswith("better ")
    assert rotated["changes"] == {"keys": ["3 of 0, 1, 2, 3", "2 of 0, 1"]}
    assert found["participants"][4]["standing"] == "joining"
    assert found["money"]["settlements"][0]["kind"] == "rotation"

    # Executed, though no record says so yet: the key is the next members'.
    settlement = run.now.money.settlement
    assert settlement is not None
    run.time += SECOND
    done = run.ledger.put(run.time, TREASURY, {}, str(settlement.sequence), name="CRYPTOUPDATEACCOUNT")
    next_keys = SharedKey(2, tuple(run.now.roster[place].key for place in (1, 0)))
    page = sdk_key(next_keys).to_proto_key().SerializeToString().hex()
    accounts = (shown(held(run), {"_type": "ProtobufEncoded", "key": page}),)
    result = finished(run, accounts)
    assert (result.violations, result.checked and result.checked.key) == ([], True)
    run.put(SettledRecord(run=run.now.run, number=1, transaction=done))
    result = finished(run, accounts)
    assert result.violations == []
    assert report(result)["money"]["keys"] == {"required": 2, "members": [0, 1]}


MOVES = [
    "accept", "accept", "reject", "expire", "settle", "pay", "settled", "paid", "fail", "failed", "refused",
    "topup", "gift", "leave", "end", "late",
]  # fmt: skip
TOGETHER = {"paid": ("settle", "pay", "settled"), "refused": ("settle", "fail", "failed")}


def story(moves: list[str]) -> MoneyedRun:
    """A run with whatever money does in one."""
    run = MoneyedRun(pool=500_000, penalty_rejected=50, unbonding_rounds=2, max_rounds=9, **RULES)
    for place in range(4):
        run.topup(place, 500)
    for move in (each for name in moves for each in TOGETHER.get(name, (name,))):
        try:
            play(run, move)
        except (ProtocolError, AssertionError, ValueError):  # it cannot be done now
            continue
    return run


def play(run: MoneyedRun, move: str) -> None:
    money = run.now.money
    if move == "settle":
        wait = SECOND if run.now.open else 100 * SECOND
        run.put(SettleRecord(run=run.now.run, number=money.settlements + 1), at=run.time + wait)
    elif move == "pay":
        pay(run)
    elif move == "settled":
        transaction = run.ledger.transfers[-1].id
        run.put(SettledRecord(run=run.now.run, number=max(1, money.settlements), transaction=transaction))
    elif move == "fail":
        assert money.settlement is not None
        run.time += SECOND
        run.ledger.put(run.time, TREASURY, {}, str(money.settlement.sequence), result="INVALID_ACCOUNT_ID")
    elif move == "failed":
        run.put(FailedRecord(run=run.now.run, number=max(1, money.settlements)))
    elif move == "topup":
        run.topup(1, 70)
    elif move == "gift":
        run.time += SECOND
        run.ledger.put(run.time, FUNDER, {FUNDER: -9, TREASURY: 9}, "")
    elif move == "leave":
        body = LeaveBody(run=run.now.run, member=3, term=1)
        run.put(LeaveRecord(body=body, sig=sign(SECRETS[3], "leave", body)))
    elif move == "end":
        body = EndBody(run=run.now.run, number=1)
        signatures = tuple((p, sign(SECRETS[p], "end", body)) for p in sorted(run.now.staked))
        run.put(EndRecord(body=body, signatures=signatures))
    elif move == "expire":
        run.expire()
    elif move == "late":
        last = run.now.last
        assert last is not None
        assert last.proposal is not None
        voter = min(last.members - last.present)
        run.put(vote_record(last.proposal, run.vote(last.proposal, voter)))
    else:
        choice = Choice.REJECT if move == "reject" else Choice.APPROVE
        proposal = run.proposal()
        votes = run.votes(proposal, *[choice] * len(run.voters))
        run.put(verdict(proposal, votes[:-1], "rejected" if move == "reject" else "accepted"))


STORIES = st.lists(st.sampled_from(MOVES), max_size=14)


@given(STORIES, st.data())
@settings(max_examples=60, deadline=None)
def test_any_run_with_money_split_anywhere_gives_the_report_of_the_whole(
    moves: list[str], data: st.DataObject
) -> None:
    run = story(moves)
    history = SavedHistory(tuple(run.entries), tuple(run.transactions))
    transfers = FileTransfers(history.transactions)
    whole = report(finished(run))
    split = data.draw(st.integers(0, len(run.entries)))
    first = Audit(TOPIC, transfers.found)
    for entry in run.entries[:split]:
        first.add(entry)
    if data.draw(st.booleans()):
        take_saved(first, history, transfers)
        if first.holding is not None and first.state is not None:
            first.holding.forget(first.state.money)
    body = body_of(first)
    again = audit_of(type(body).model_validate_json(canonical(body)))
    assert again.state == first.state
    assert again.book == first.book
    assert again.holding == first.holding
    again.find = transfers.found
    for entry in run.entries[split:]:
        again.add(entry)
    take_saved(again, history, transfers)
    again.finish()
    assert report(again) == whole


@given(STORIES)
@settings(max_examples=60, deadline=None)
def test_what_members_earned_lost_and_are_owed_adds_up(moves: list[str]) -> None:
    run = story(moves)
    found = report(finished(run))
    money, members = found["money"], found["participants"]
    state = run.now
    assert sum(found["credits"].values()) == sum(sum(e["credits"].values()) for e in found["timeline"])
    assert sum(m["vote_credits"] + m["proposal_credits"] for m in members) == sum(found["credits"].values())
    assert sum(m["staked"] for m in members) == money["stakes"]
    assert sum(m["unbonding"] for m in members) == money["unbonding"]
    for place, member in enumerate(members):
        deposited = sum(e["amount"] for e in found["events"] if e["op"] == "topup" and e["member"] == place)
        at_stake = member["staked"] + member["unbonding"]
        back = deposited - at_stake - member["lost_penalties"] - member["lost_faults"]
        assert back >= 0
        assert back == 0 or state.open is None or "leave" in moves


@given(STORIES)
@settings(max_examples=10, deadline=None)
def test_with_processes_an_audit_of_money_is_the_same(moves: list[str]) -> None:
    run = story(moves)
    plain = run.audited()
    ahead = Audit(TOPIC, run.find)
    with Verifiers(2) as verifiers:
        running = Ahead(ahead, verifiers)
        for entry in run.entries:
            running.add(entry)
        running.finish()
    ahead.finish()
    assert report(ahead) == report(plain)
    assert body_of(ahead) == body_of(plain)


def test_what_the_fold_has_accounted_for_is_not_kept() -> None:
    run = paid()
    holding = Holding(cut=LAST)
    holding.take(TREASURY, run.ledger.transfers)
    holding.take(TREASURY, run.ledger.transfers)
    assert holding.moved == holding.balance == held(run)
    holding.forget(run.now.money)
    assert holding.debits == holding.credits == []
