"""The outbox on its own: what is noted once stays noted, and what it may cost is counted until it is known."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import outbox as outbox_module
from ledger.outbox import (
    DEFAULT_SPEND_LIMIT,
    FEE_CAP,
    MAX_PENDING,
    Message,
    Outbox,
    OutboxError,
    OverBudget,
    Payment,
    cost_cap,
)
from node.config import ConfigError, load_config
from node.networks import spend_limit_of
from protocol.ids import AccountId, Nanoseconds, Tinybar, TopicId

ME = "localnet 0.0.7"
HELLO = Message(TopicId("0.0.1001"), b"hello")
STAKE = Payment(AccountId("0.0.8"), Tinybar(5_000), "a stake")
MINUTE = 60_000_000_000


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = 10**18

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    with Outbox.open(tmp_path / "outbox.db", Tinybar(10 * FEE_CAP), clock) as opened:
        yield opened


def at(start: int) -> Nanoseconds:
    return Nanoseconds(start)


def test_what_is_enqueued_is_there_after_a_restart(outbox, tmp_path, clock):
    noted = [outbox.enqueue(ME, HELLO, None, at(1_000)), outbox.enqueue(ME, STAKE, "s", at(2_000))]
    with Outbox.open(tmp_path / "outbox.db", now=clock) as again:
        assert list(again.pending(ME)) == noted
        assert again.last_start == 2_000
        assert again.spent() == cost_cap(HELLO) + cost_cap(STAKE)
        assert again.pending("localnet 0.0.8") == ()
    assert stat.S_IMODE((tmp_path / "outbox.db").stat().st_mode) == 0o600


def test_the_same_unfinished_deed_is_one_entry_and_a_finished_one_is_not_meant_again(outbox):
    first = outbox.enqueue(ME, HELLO, None, at(1_000))
    assert outbox.enqueue(ME, HELLO, None, at(2_000)) == first
    assert outbox.enqueue("testnet 0.0.7", HELLO, None, at(2_500)).id != first.id
    outbox.settle(first, "done", "SUCCESS")
    assert outbox.enqueue(ME, HELLO, None, at(3_000)).id != first.id


def test_a_key_is_used_once_also_when_it_is_done(outbox):
    first = outbox.enqueue(ME, STAKE, "join", at(1_000))
    done = outbox.settle(first, "done", "SUCCESS")
    assert outbox.enqueue(ME, STAKE, "join", at(2_000)) == done
    assert outbox.enqueue(ME, STAKE, "topup", at(3_000)).id != first.id
    with pytest.raises(OutboxError, match="'join' stands for another deed; nothing was sent"):
        outbox.enqueue(ME, HELLO, "join", at(4_000))


def test_what_was_refused_may_be_tried_again_under_its_key(outbox):
    first = outbox.enqueue(ME, STAKE, "join", at(1_000))
    outbox.settle(first, "refused", "INSUFFICIENT_ACCOUNT_BALANCE")
    second = outbox.enqueue(ME, STAKE, "join", at(2_000))
    assert second.id != first.id
    assert second.state == "pending"


def test_a_renewed_entry_is_the_same_deed_under_a_new_id(outbox):
    first = outbox.enqueue(ME, STAKE, "join", at(1_000))
    renewed = outbox.renew(first, at(9_000))
    assert outbox.pending(ME) == (renewed,)
    assert (renewed.id, renewed.deed, renewed.start) == (first.id, STAKE, 9_000)
    assert outbox.last_start == 9_000
    assert outbox.spent() == cost_cap(STAKE)


def test_costs_are_counted_at_the_most_until_they_are_known(outbox):
    message, payment = outbox.enqueue(ME, HELLO, None, at(1_000)), outbox.enqueue(ME, STAKE, None, at(2_000))
    assert outbox.spent() == 2 * FEE_CAP + 5_000
    outbox.price(outbox.settle(message, "done", "SUCCESS"), Tinybar(800))
    assert outbox.spent() == 800 + FEE_CAP + 5_000
    payment = outbox.settle(payment, "done", "SUCCESS")
    assert outbox.unpriced(ME) == (payment,)
    outbox.price(payment, Tinybar(100))
    assert outbox.spent() == 800 + 100 + 5_000
    assert outbox.unpriced(ME) == ()


def test_what_is_refused_moved_no_money_but_may_have_cost_a_fee(outbox):
    entry = outbox.enqueue(ME, STAKE, None, at(1_000))
    refused = outbox.settle(entry, "refused", "INSUFFICIENT_ACCOUNT_BALANCE")
    assert outbox.spent() == FEE_CAP
    outbox.price(refused, Tinybar(100))
    assert outbox.spent() == 100


def test_over_the_limit_nothing_is_noted_until_the_hour_is_over(outbox, tmp_path, clock):
    for n in range(10):
        outbox.enqueue(ME, Message(TopicId("0.0.1001"), bytes([n])), None, at(1_000 * n + 1_000))
    for opened in (outbox, Outbox.open(tmp_path / "outbox.db", Tinybar(10 * FEE_CAP), clock)):
        with pytest.raises(OverBudget) as caught:
            opened.enqueue(ME, HELLO, None, at(90_000))
        line = str(caught.value)
        assert f"limit of {10 * FEE_CAP} tinybar an hour" in line
        assert "raise [ledger] spend_limit" in line
        assert "\n" not in line
        assert len(opened.pending(ME)) == 10
        assert opened.last_start == 10_000
    opened.close()
    clock.time += 60 * MINUTE
    with pytest.raises(OverBudget):
        outbox.enqueue(ME, HELLO, None, at(90_000))
    clock.time += 2 * MINUTE
    outbox.enqueue(ME, HELLO, None, at(90_000))
    assert outbox.spent() == FEE_CAP


def test_a_passing_transaction_counts_and_may_be_refunded(outbox):
    outbox.note(at(5_000), Tinybar(70))
    assert (outbox.spent(), outbox.last_start) == (70, 5_000)
    outbox.refund(Tinybar(70))
    assert outbox.spent() == 0
    with pytest.raises(OverBudget):
        outbox.note(at(6_000), Tinybar(11 * FEE_CAP))
    assert outbox.last_start == 5_000


def test_it_holds_a_bounded_number_of_unfinished_entries(tmp_path):
    with Outbox.open(tmp_path / "outbox.db", Tinybar(2**62)) as outbox:
        for n in range(MAX_PENDING):
            outbox.enqueue(ME, HELLO, str(n), at(1_000 * n))
        with pytest.raises(OutboxError, match=f"{MAX_PENDING} transactions are unfinished .* check"):
            outbox.enqueue(ME, HELLO, "one more", at(10**9))


def test_old_finished_entries_are_forgotten_and_unfinished_ones_are_not(outbox, monkeypatch):
    monkeypatch.setattr(outbox_module, "KEEP", 3)
    waiting = outbox.enqueue(ME, HELLO, "waiting", at(1))
    for n in range(8):
        entry = outbox.settle(outbox.enqueue(ME, HELLO, str(n), at(1_000 * n)), "done", "SUCCESS")
        outbox.price(entry, Tinybar(1))
    assert outbox.pending(ME) == (waiting,)
    # The newest is still known by its key, the oldest is not.
    assert outbox.enqueue(ME, HELLO, "7", at(50_000)).state == "done"
    assert outbox.enqueue(ME, HELLO, "0", at(60_000)).state == "pending"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 900)), max_size=40))
def test_the_count_is_the_sum_of_what_each_entry_costs(steps):
    clock = Clock()
    with Outbox.open(None, Tinybar(2**62), clock) as outbox:
        costs: dict[int, int] = {}
        for number, (what, size, fee) in enumerate(steps):
            deed = Payment(AccountId("0.0.8"), Tinybar(size), str(number))
            entry = outbox.enqueue(ME, deed, None, at(number + 1))
            costs[entry.id] = FEE_CAP + size
            if what == 1:
                outbox.renew(entry, at(1_000 + number))
            elif what > 1:
                state = "done" if what == 2 else "refused"
                outbox.price(outbox.settle(entry, state, "X"), Tinybar(fee))
                costs[entry.id] = fee + (size if what == 2 else 0)
            assert outbox.spent() == sum(costs.values())


@pytest.mark.parametrize(
    ("line", "limit"),
    [("", DEFAULT_SPEND_LIMIT), ("spend_limit = 0", 0), ("spend_limit = 5_000_000", 5_000_000)],
)
def test_the_limit_is_a_setting(tmp_path, line, limit):
    assert spend_limit_of(load_config(written(tmp_path, line)).ledger) == limit


@pytest.mark.parametrize("value", ["-1", "1.5", '"1"', "true", str(2**63)])
def test_a_limit_that_is_none_is_refused_in_one_line(tmp_path, value):
    with pytest.raises(ConfigError, match=r"ledger\.spend_limit") as caught:
        load_config(written(tmp_path, f"spend_limit = {value}"))
    assert "\n" not in str(caught.value)


def written(folder: Path, line: str) -> Path:
    path = folder / "node.toml"
    path.write_text(f"""data = "data"
[identity]
file = "identity.pem"
[ledger]
network = "localnet"
topic = "0.0.1001"
account = "0.0.1002"
{line}
[learner]
name = "driving"
""")
    return path


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"\x00" * 5_000])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "outbox.db"
    path.write_bytes(content)
    with pytest.raises(OutboxError, match=r"cannot open the outbox .*; free the disk") as caught:
        Outbox.open(path)
    assert "\n" not in str(caught.value)


def test_an_entry_that_cannot_be_written_is_not_there(outbox, tmp_path):
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON clock BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(OutboxError, match="disk full"):
        outbox.enqueue(ME, HELLO, None, at(1_000))
    assert outbox.pending(ME) == ()
    assert outbox.spent() == 0
