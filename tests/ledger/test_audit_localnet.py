"""A run with money on a real network, audited: from the mirror, from a saved file, and from a checkpoint."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import from_thread, to_thread
from click.testing import CliRunner

import ledger.reading
from ledger.chunks import History
from ledger.lookup import MirrorTransfers, found_for
from node.cli.main import main
from protocol.deposits import deposit_memo
from protocol.fields import Model, canonical
from protocol.fold import read
from protocol.ids import Ppm, Tinybar
from protocol.messages import Choice, Contributor
from protocol.payments import FundRecord, SettledRecord, SettleRecord, TopupRecord
from protocol.records import Genesis, Member, TreasuryEntry
from protocol.settlement import payout_of
from protocol.state import RunState
from protocol.transfers import TransactionId
from tests.ledger.localnet_process import Localnet
from tests.ledger.treasuries import HBAR, Council, council
from tests.protocol.world import PEERS, SECRETS, Run, params, verdict

GIFT = 10 * HBAR
"""What the treasury was sent when it was made, and no record names."""


class RealRun(Run):
    """A run whose records are on a real topic, and whose money is on a real ledger."""

    def __init__(self, members: Council) -> None:
        self.council = members
        self.real = from_thread.run(members.operator.create_topic, "audited")
        self.transfers = MirrorTransfers(members.operator.mirror)
        self.history = History(self.real)
        self.gains = {Choice.APPROVE: Ppm(50_000), Choice.REJECT: Ppm(-50_000)}
        self.state: RunState | None = None
        self.genesis = Genesis(
            topic=self.real,
            params=params(reward_proposal=3_000, reward_vote=500, settle_every=1, settle_fee=HBAR),
            roster=tuple(Member(peer=p, account=a) for p, a in zip(PEERS, members.accounts, strict=False)),
            treasury=TreasuryEntry(account=members.treasury, required=3),
        )
        self.put(self.genesis)

    def put(self, record: Model | bytes, at: int | None = None) -> RunState:
        raw = record if isinstance(record, bytes) else canonical(record)
        from_thread.run(self._put, raw)
        return self.now

    async def _put(self, raw: bytes) -> None:
        operator = self.council.operator
        await operator.submit(self.real, raw)
        while True:
            async for entry in operator.mirror.messages(self.real, self.history.sequence):
                for message in self.history.add(entry):
                    assert hasattr(message, "body")
                    stamp = message.stamp
                    found = await found_for(self.transfers, self.state, message.body, stamp)
                    self.state = read(self.state, self.real, message.body, stamp, found)
                    if message.body == raw:
                        return
            await anyio.sleep(0.02)

    def deposit(self, op: str, by: str, amount: int) -> TransactionId:
        memo = deposit_memo(self.now.run, op, by)
        return TransactionId(self.transfer(amount, memo))

    def transfer(self, amount: int, memo: str) -> str:
        return from_thread.run(self.council.operator.transfer, self.council.treasury, Tinybar(amount), memo)

    def found_with_money(self) -> None:
        by = self.council.operator.account
        self.put(
            FundRecord(
                run=self.now.run, account=by, amount=5 * HBAR, transaction=self.deposit("fund", by, 5 * HBAR)
            )
        )
        paid = self.deposit("topup", PEERS[1], HBAR)
        self.put(TopupRecord(run=self.now.run, peer=PEERS[1], amount=HBAR, transaction=paid))

    def play(self) -> None:
        proposer = self.council.accounts[self.current.proposer]
        proposal = self.proposal(contributors=(Contributor(account=proposer, share=Ppm(1_000_000)),))
        self.put(verdict(proposal, self.votes(proposal, *[Choice.APPROVE] * 4), "accepted"))

    def settle(self) -> None:
        self.put(SettleRecord(run=self.now.run, number=self.now.money.settlements + 1))

    def pay(self) -> TransactionId:
        """Three members sign what the open settlement asks for, and no more."""
        payout = payout_of(self.now)
        assert payout is not None
        from_thread.run(self.council.sign_all, payout, self.council.members[:3])
        outcome = from_thread.run(self.council.members[0].outcome, payout)
        assert outcome is not None
        return outcome.id

    def settled(self, transaction: TransactionId) -> None:
        self.put(SettledRecord(run=self.now.run, number=self.now.money.settlements, transaction=transaction))

    def audit(self, *more: object) -> tuple[int, dict[str, Any]]:
        url = self.council.localnet.network.mirror_rest
        return said("--topic", self.real, "--mirror", url, *more)


def said(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(main, ["audit", "--json", *map(str, arguments)])
    assert result.exit_code in (0, 1), result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, found


def run(localnet: Localnet, test: Callable[[RealRun], None]) -> None:
    async def whole() -> None:
        with anyio.fail_after(120):
            async with council(localnet, 1, SECRETS[:5]) as members:
                await to_thread.run_sync(lambda: test(RealRun(members)))

    anyio.run(whole)


def test_mirror_file_and_checkpoint_say_the_same_of_a_run_that_paid(
    localnet: Localnet, tmp_path: Path
) -> None:
    file, checkpoint = tmp_path / "saved.json", tmp_path / "checkpoint.json"

    def test(played: RealRun) -> None:
        played.found_with_money()
        assert played.audit("--checkpoint", checkpoint)[0] == 0
        played.play()
        played.settle()
        status, found = played.audit("--checkpoint", checkpoint)
        assert (status, found["money"]["settlements"][0]["outcome"]) == (0, "open")
        paid = played.pay()
        status, found = played.audit("--checkpoint", checkpoint)
        assert (status, found["money"]["settlements"][0]["outcome"]) == (0, "executed")
        assert [each["transaction"] for each in found["money"]["account"]["in_progress"]] == [paid]
        played.settled(paid)
        played.play()

        status, found = played.audit()
        assert status == 0
        money = found["money"]
        assert found["violations"] == []
        assert (money["account"]["source"], money["account"]["key"]) == ("mirror", "holds")
        assert money["account"]["balance"] == money["liabilities"] + GIFT
        assert [each["amount"] for each in money["account"]["unclaimed"]] == [GIFT]
        assert (money["paid"], money["settlements"][0]["transaction"]) == (5_000, paid)
        assert money["deposits"] == 6 * HBAR
        assert played.audit("--save", file) == (0, found)
        assert played.audit("--checkpoint", checkpoint) == (0, found)
        assert played.audit("--checkpoint", checkpoint) == (0, found)
        assert said("--pages", file) == (0, found)
        assert said("--pages", file, "--checkpoint", checkpoint) == (0, found)
        # Without what the mirror says of the account, its transactions must do.
        bare = json.loads(file.read_text())
        del bare["accounts"]
        file.write_text(json.dumps(bare))
        status, offline = said("--pages", file)
        account = {"source": "transactions", "key": "not checked"}
        assert offline == found | {"money": money | {"account": money["account"] | account}}

    run(localnet, test)


def test_three_who_pay_themselves_are_found_and_so_is_a_mirror_that_hides_it(
    localnet: Localnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.reading, "PAUSES", (0.0,))
    file = tmp_path / "saved.json"

    def test(played: RealRun) -> None:
        played.found_with_money()
        played.play()
        played.settle()
        payout = payout_of(played.now)
        assert payout is not None
        thief = played.council.payees[0]
        theft = replace(payout, memo="a loan", payees=((thief, Tinybar(2 * HBAR)),))
        from_thread.run(played.council.sign_all, theft, played.council.members[2:])
        status, found = played.audit("--save", file)
        assert status == 1
        (stolen,) = [violation for violation in found["violations"] if violation["transaction"]]
        assert f"{2 * HBAR} to {thief}" in stolen["reason"]
        assert "memo 'a loan': no settlement asks for it" in stolen["reason"]
        assert stolen["sequence"] is None
        assert said("--pages", file) == (1, found)

        saved = json.loads(file.read_text())
        saved["transactions"] = [
            entry for entry in saved["transactions"] if entry["transaction_id"] not in stolen["transaction"]
        ]
        file.write_text(json.dumps(saved))
        status, hidden = said("--pages", file)
        assert status == 1
        (reason,) = [v["reason"] for v in hidden["violations"]]
        assert "less than its transactions add up to: the mirror leaves out a payment" in reason

    run(localnet, test)


def test_another_key_than_the_members_is_found(localnet: Localnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.reading, "PAUSES", ())

    def test(played: RealRun) -> None:
        from_thread.run(played.council.operator.submit, played.real, b"hello")
        played.genesis = played.genesis.model_copy(
            update={"treasury": TreasuryEntry(account=played.council.treasury, required=4)}
        )
        played.real = from_thread.run(played.council.operator.create_topic, "another")
        played.genesis = played.genesis.model_copy(update={"topic": played.real})
        played.history, played.state = History(played.real), None
        played.put(played.genesis)
        status, found = played.audit()
        assert status == 1
        assert [v["reason"] for v in found["violations"]] == [
            f"the key of the treasury {played.council.treasury} is not any 4 of those of members 0, 1, 2, 3, 4"
        ]

    run(localnet, test)
