"""Reading a run with money from a mirror that grows, lags, is full of dust, or goes away in between."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import pytest

import ledger.reading
from ledger.audit import Audit, report
from ledger.checkpoint import audit_of, body_of, write_checkpoint
from ledger.keys import sdk_key
from ledger.lookup import FileTransfers
from ledger.pages import RawEntry, nanoseconds
from ledger.reading import Reader, take_saved
from ledger.topic import LedgerError
from protocol.ids import SECOND, Nanoseconds
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.transfers import SharedKey
from tests.ledger.chains import TOPIC
from tests.ledger.moneyed import RULES, THIEF, MoneyedRun, paid, pay
from tests.protocol.world import FUNDER, TREASURY


class Shown:
    """A mirror of a run; `before` is called with the name of each request, and may change the run."""

    url = "http://mirror"

    def __init__(self, run: MoneyedRun, before: Callable[[str], None] = lambda _: None) -> None:
        self.run = run
        self.before = before
        self.asked: list[str] = []

    def note(self, request: str) -> None:
        self.asked.append(request)
        self.before(request)

    async def messages(self, topic: str, after: int = 0) -> AsyncGenerator[RawEntry, None]:
        self.note("messages")
        for entry in self.run.entries[after:]:
            yield entry

    async def latest(self) -> Nanoseconds:
        self.note("latest")
        times = [transfer.time for transfer in self.run.ledger.transfers]
        return max([nanoseconds(self.run.entries[-1]["consensus_timestamp"]), *times])

    async def account_page(self, account: str) -> dict[str, Any]:
        self.note("account")
        # As public mirrors do: the time of its last change.
        members = tuple(member.key for member in self.run.genesis.roster)
        key = sdk_key(SharedKey(self.run.now.money.keys.required, members)).to_proto_key()
        return {
            "account": account,
            "balance": {
                "balance": self.balance,
                "timestamp": self.run.transactions[-1]["consensus_timestamp"],
            },
            "key": {"_type": "ProtobufEncoded", "key": key.SerializeToString().hex()},
        }

    @property
    def balance(self) -> int:
        return sum(transfer.moved(TREASURY) for transfer in self.run.ledger.transfers)

    async def transactions(
        self,
        account: str,
        since: int,
        until: int,
        *,
        limit: int = 10_000,
        debits: bool = False,
        is_part: bool = False,
    ) -> tuple[RawEntry, ...]:
        self.note("debits" if debits else "transactions")
        entries = [
            entry
            for transfer, entry in zip(self.run.ledger.transfers, self.run.transactions, strict=True)
            if since <= transfer.time <= until and (transfer.moved(TREASURY) < 0 or not debits)
        ]
        assert is_part or len(entries) <= limit
        return tuple(entries[:limit])

    async def transaction(self, name: str, scheduled: bool | None = None) -> tuple[RawEntry, ...]:
        self.note("transaction")
        return tuple(
            entry
            for entry in self.run.transactions
            if (entry["transaction_id"], entry["scheduled"]) == (name, scheduled)
        )


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.reading, "PAUSES", (0.0, 0.0))


def read(mirror: Any, result: Audit | None = None) -> Audit:
    result = result or Audit(TOPIC)
    anyio.run(Reader(mirror, result).read)
    return result


def ended(result: Audit) -> dict[str, Any]:
    result.finish()
    return report(result)


def saved(mirror: Any) -> dict[str, Any]:
    """The report of an audit of what is saved of a mirror."""

    async def main() -> Any:
        reader = Reader(mirror, Audit(TOPIC), keep=True)
        await reader.read()
        return await reader.saved()

    history = anyio.run(main)
    transfers = FileTransfers(history.transactions)
    result = Audit(TOPIC, transfers.found)
    for entry in history.messages:
        result.add(entry)
    take_saved(result, history, transfers)
    return ended(result)


def gift(run: MoneyedRun, amount: int = 9) -> None:
    run.time += SECOND
    run.ledger.put(run.time, FUNDER, {FUNDER: -amount, TREASURY: amount}, "")


def test_mirror_and_saved_history_say_the_same() -> None:
    run = paid()
    gift(run)
    found = ended(read(Shown(run)))
    assert found["ok"]
    assert found["money"]["account"]["unclaimed_total"] == 9
    assert saved(Shown(run)) == found


def test_only_what_is_new_of_the_treasury_is_asked_for() -> None:
    run = paid()
    mirror = Shown(run)
    first = read(mirror)
    assert mirror.asked.count("transactions") == 1
    mirror.asked.clear()
    read(mirror, first)
    assert mirror.asked == ["messages", "latest", "account", "messages"]
    gift(run)
    again = audit_of(body_of(first))
    assert ended(read(mirror, again)) == ended(read(Shown(run)))


def test_dust_is_a_sum_and_what_was_paid_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.reading, "MAX_READ", 9)
    run = MoneyedRun(pool=1_000_000, **RULES)
    for _ in range(30):
        gift(run, 1)
    run.accept()
    run.put(SettleRecord(run=run.now.run, number=1))
    run.put(SettledRecord(run=run.now.run, number=1, transaction=pay(run)))
    mirror = Shown(run)
    found = ended(read(mirror))
    assert found["ok"]
    account = found["money"]["account"]
    assert (account["unclaimed_total"], account["unlisted"]) == (8, 22)
    assert mirror.asked.count("debits") == 1
    assert saved(Shown(run)) == found
    first = read(Shown(run))
    gift(run, 1)
    assert ended(read(Shown(run), first))["money"]["account"]["unlisted"] == 23
    run.time += SECOND
    theft = run.ledger.put(run.time, TREASURY, {THIEF: 5, TREASURY: -5}, "")
    assert theft in [violation["transaction"] for violation in ended(read(Shown(run)))["violations"]]


@pytest.mark.parametrize("request_", ["latest", "account", "transactions", "messages"])
def test_what_happens_while_it_is_read_is_no_theft(request_: str) -> None:
    run = paid()
    count = 0

    def before(request: str) -> None:
        nonlocal count
        if request == request_ and count < 4:
            count += 1
            run.accept()
            run.put(SettleRecord(run=run.now.run, number=run.now.money.settlements + 1))
            number = run.now.money.settlements
            run.put(SettledRecord(run=run.now.run, number=number, transaction=pay(run)))
            gift(run)

    found = ended(read(Shown(run, before)))
    assert count
    assert found["violations"] == []


def test_a_balance_that_lags_is_read_again() -> None:
    run = paid()

    class Lagging(Shown):
        late = 2

        @property
        def balance(self) -> int:
            self.late -= 1
            return super().balance - (5 if self.late >= 0 else 0)

    assert ended(read(Lagging(run)))["ok"]


def test_a_mirror_that_stays_wrong_is_a_violation() -> None:
    run = paid()

    class Lying(Shown):
        @property
        def balance(self) -> int:
            return super().balance - 5

    found = ended(read(Lying(run)))
    assert ["5 less than its transactions add up to" in v["reason"] for v in found["violations"]] == [
        False,
        True,
    ]
    assert "5 of what it must hold are missing" in found["violations"][0]["reason"]


def test_a_message_that_cannot_be_looked_up_waits(tmp_path: Any) -> None:
    run = paid()
    fails = True

    def before(request: str) -> None:
        if request == "transaction" and fails:
            raise LedgerError("out of reach")

    mirror, result = Shown(run, before), Audit(TOPIC)
    with pytest.raises(LedgerError, match="out of reach"):
        read(mirror, result)
    assert len(result.waiting) == 1
    with pytest.raises(LedgerError, match="left as it was"):
        write_checkpoint(tmp_path / "checkpoint.json", result)
    assert list(tmp_path.iterdir()) == []
    fails = False
    assert ended(read(mirror, result)) == ended(read(Shown(run)))


def test_of_a_failed_settlement_all_that_was_paid_is_looked_up() -> None:
    run = paid()
    run.accept()
    run.put(SettleRecord(run=run.now.run, number=2))
    settlement = run.now.money.settlement
    assert settlement is not None
    run.time += SECOND
    run.ledger.put(run.time, TREASURY, {}, str(settlement.sequence), result="INVALID_ACCOUNT_ID")
    run.put(FailedRecord(run=run.now.run, number=2))
    found = ended(read(Shown(run)))
    assert found["ok"]
    assert found["money"]["settlements"][1]["outcome"] == "failed"
    assert saved(Shown(run)) == found
