"""The list of prices: what it charges, what it refuses, and that a ledger keeps the one it began with."""

import tomllib

import pytest

from ledger.hiero import PrivateKey
from ledger.localnet.errors import LocalnetError
from ledger.localnet.fees import FeeSchedule, default_prices
from ledger.localnet.journal import Genesis, Journal, Ordered
from ledger.localnet.network import replay
from ledger.localnet.serve import Ports, serve
from ledger.localnet.state import FEE_COLLECTOR, OPERATOR, SUPPLY, genesis
from ledger.localnet.transactions import KINDS
from tests.ledger.localnet_bodies import KEY, NOW, message_body, run, signed, topic_body

PUBLIC = KEY.public_key().to_bytes_raw()


def charged(raw: bytes, prices: str | None = None) -> int:
    ledger = genesis(PUBLIC, NOW - 10, FeeSchedule.parse(prices or default_prices()))
    run(ledger, signed(topic_body(NOW - 5)))
    before = ledger.accounts[FEE_COLLECTOR].balance
    entry = run(ledger, raw)
    assert ledger.accounts[FEE_COLLECTOR].balance - before == entry.record.transactionFee
    return entry.record.transactionFee


def test_every_kind_has_a_price_and_nothing_else_has():
    assert tomllib.loads(default_prices())["transactions"].keys() == KINDS.keys()


def test_a_transaction_pays_for_its_bytes_past_the_included_ones():
    prices = default_prices().replace("included_bytes = 1_400", "included_bytes = 1_000")
    small = signed(message_body(NOW, 1001, b"x"))
    assert len(small) < 1_000
    assert charged(small, prices) == 800_000
    spare = 1_000 - len(signed(message_body(NOW, 1001, b"x" * 800)))
    edge = signed(message_body(NOW, 1001, b"x" * (800 + spare)))
    assert len(edge) == 1_000
    assert charged(edge, prices) == 800_000
    assert charged(signed(message_body(NOW, 1001, b"x" * (803 + spare))), prices) == 800_000 + 3 * 110


def test_a_full_message_costs_what_a_message_costs():
    assert charged(signed(message_body(NOW, 1001, b"x" * 1_024))) == 800_000


def test_a_transaction_pays_for_signatures_past_the_first_and_a_topic_for_its_keys():
    others = [PrivateKey.generate_ed25519() for _ in range(3)]
    assert charged(signed(message_body(NOW, 1001, b"x"), KEY, *others)) == 800_000 + 3 * 100_000
    body = topic_body(NOW)
    body.consensusCreateTopic.submitKey.ed25519 = PUBLIC
    body.consensusCreateTopic.adminKey.keyList.keys.add(ed25519=PUBLIC)
    assert charged(signed(body)) == 10_000_000 + 2 * 10_000_000


def test_the_exchange_rounds_up():
    fees = FeeSchedule.parse(default_prices().replace("cents_per_hbar = 10", "cents_per_hbar = 7"))
    assert [fees.tinybar(nano) for nano in (0, 1, 7, 8)] == [0, 2, 10, 12]
    assert fees.exchange_rates().currentRate.centEquiv == 7


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("query = 100_000", "query = 0.1"), "query"),
        (("query = 100_000", "query = -1"), "query"),
        (("query = 100_000", "quarry = 1"), "query"),
        (("byte = 110", 'byte = "110"'), "extra.byte"),
        (("cents_per_hbar = 10", "cents_per_hbar = 0"), "cents_per_hbar"),
        (("[extra]", "[extra"), "not TOML"),
    ],
)
def test_a_list_that_is_wrong_is_named(change, named):
    with pytest.raises(LocalnetError, match=named):
        FeeSchedule.parse(default_prices().replace(*change))


def test_a_journal_replays_with_the_prices_it_began_with(tmp_path):
    dear = default_prices().replace("consensusSubmitMessage = 800_000", "consensusSubmitMessage = 900_000")
    path = tmp_path / "journal"
    live = genesis(PUBLIC, NOW - 1, FeeSchedule.parse(dear))
    with Journal(path, Genesis(live.time, PUBLIC, dear)) as journal:
        for raw in (signed(topic_body(NOW)), signed(message_body(NOW + 1, 1001, b"x"))):
            journal.append([Ordered(run(live, raw).time, raw)])
    with Journal(path, Genesis(0, bytes(32))) as journal:
        replayed = replay(journal)
    assert replayed == live
    assert replayed.accounts[OPERATOR].balance == SUPPLY - 10_000_000 - 900_000


def test_a_list_without_a_price_for_something_is_refused(tmp_path):
    short = default_prices().replace("scheduleSign = 1_000_000", "")
    with (
        Journal(tmp_path / "journal", Genesis(1, PUBLIC, short)) as journal,
        pytest.raises(LocalnetError, match="no price for scheduleSign"),
    ):
        replay(journal)


async def test_a_ledger_is_not_started_with_other_prices(tmp_path):
    cheap = default_prices().replace("query = 100_000", "query = 1")
    (tmp_path / "net").mkdir()
    with pytest.raises(LocalnetError, match="not TOML"):
        await serve(tmp_path / "net", Ports.ephemeral(), prices="=")
    assert not (tmp_path / "net" / "journal").exists()
    raw_key = bytes.fromhex((tmp_path / "net" / "operator.key").read_text())[-32:]
    public = PrivateKey.from_bytes_ed25519(raw_key).public_key().to_bytes_raw()
    with Journal(tmp_path / "net" / "journal", Genesis(1, public)):
        pass
    with pytest.raises(LocalnetError, match="with other prices"):
        await serve(tmp_path / "net", Ports.ephemeral(), prices=cheap)
