"""The estimate of a run's cost, against the sizes of real records and against what a real topic was charged."""

import json
import subprocess
import sys

import anyio
import coincurve
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledger.cost import (
    Item,
    Microdollars,
    chunks,
    estimate,
    in_tinybar,
    sample_genesis,
    sample_verdict,
    sample_vote,
    settlements,
)
from ledger.hedera import Hedera, open_hedera
from node.cli.main import main
from protocol.fields import canonical
from protocol.ids import AccountId, PublicKey, Tinybar
from protocol.parse import parse_record
from tests.ledger.localnet_process import ROOT, Localnet
from tests.ledger.treasuries import Council
from tests.ledger.treasuries import run as with_treasury

CENTS_10 = Microdollars(100_000)
"""The embedded network's fixed price of an hbar."""


def told(*arguments: str) -> dict:
    result = CliRunner().invoke(main, ["cost", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.mark.parametrize("peers", [2, 5, 6, 50])
def test_the_samples_are_records(peers):
    for sample in (sample_genesis(peers, 20), sample_verdict(peers, 20), sample_vote(peers, 20)):
        assert parse_record(canonical(sample)) == sample


# The shortest and the longest verdict with all votes in demo runs of 2, 3 and 5 peers.
@pytest.mark.parametrize(("peers", "shortest", "longest"), [(2, 643, 648), (3, 752, 758), (5, 959, 980)])
def test_a_verdict_is_as_long_as_real_ones_are(peers, shortest, longest):
    assert shortest <= longest <= estimate(peers, 20).verdict_bytes <= longest + 20


@given(st.integers(2, 60), st.integers(1, 2_000))
def test_more_peers_and_more_rounds_cost_more_and_parts_add_up(peers, rounds):
    less, more = estimate(peers, rounds), estimate(peers + 1, rounds)
    assert less.founding_cost < more.founding_cost
    assert less.round_cost <= more.round_cost
    assert less.total == less.founding_cost + less.running_cost < estimate(peers, rounds + 1).total
    assert less.running_cost <= less.round_cost * rounds < less.running_cost + rounds
    assert less.running_cost <= less.participant_cost * peers < less.running_cost + peers
    verdicts, late, *settling = less.running
    assert verdicts.count == rounds * chunks(less.verdict_bytes)
    assert late.count == chunks(less.vote_bytes) * -(-rounds * (peers - 1) // 10)
    count = settlements(peers, rounds, 10)
    signers = peers // 2 + 1
    expected = [2 * count, count * signers, count * (signers - 1), count]
    assert [item.count for item in settling] == (expected if rounds >= 10 else [])


@pytest.mark.parametrize(
    ("peers", "rounds", "settle_every", "count"),
    [(5, 20, 10, 2), (5, 9, 10, 0), (9, 10, 10, 1), (10, 10, 10, 2), (19, 30, 10, 9), (5, 20, 0, 0)],
)
def test_a_settlement_pays_nine(peers, rounds, settle_every, count):
    assert settlements(peers, rounds, settle_every) == count
    settled, free = estimate(peers, rounds, 0, settle_every), estimate(peers, rounds, 0, 0)
    assert settled.running_cost - free.running_cost == count * (
        2 * 800 + 10_000 * (peers // 2 + 1) + 1_000 * (peers // 2) + 100
    )
    assert settled.founding_cost - free.founding_cost == (50_000 if settle_every else 0)


def test_what_a_settlement_is_charged_is_the_estimate(localnet: Localnet):
    """Three of five sign, one of them in the schedule that it makes."""
    charged = []

    async def test(council: Council) -> None:
        payout = council.payout()
        before = [await council.balance(account) for account in council.accounts]
        first, *others = council.members
        await first.sign(payout)
        for member in others:
            await member.sign(payout)
        after = [await council.balance(account) for account in council.accounts]
        outcome = await first.outcome(payout)
        assert outcome is not None
        charged.extend(old - new for old, new in zip(before, after, strict=True))
        charged.append(outcome.fee)

    with_treasury(localnet, test, payees=2)
    schedule, signature, transfer = (in_tinybar(item.price, CENTS_10) for item in estimate(5, 10).running[3:])
    # The third signature has it executed, and who comes later pays nothing.
    assert charged == [schedule, schedule + signature, schedule + signature, 0, 0, transfer]


def test_what_a_topic_like_a_runs_is_charged_is_the_estimate(localnet: Localnet):
    """Seven peers: genesis and verdicts take two chunks."""
    peers, rounds = 7, 3
    keys = [PublicKey(coincurve.PrivateKey().public_key.format()) for _ in range(peers)]
    founder = coincurve.PrivateKey()

    async def spent(hedera: Hedera, before: int) -> int:
        return before - (await hedera.mirror.account(hedera.account)).balance.balance

    async def run() -> tuple[int, int]:
        start = 100 * 100_000_000
        async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
            public = PublicKey(founder.public_key.format())
            account: AccountId = await operator.create_account(public, Tinybar(start))
        async with open_hedera(localnet.network, account, founder.secret) as hedera:
            topic = await hedera.create_topic("a run", keys)
            await hedera.submit(topic, canonical(sample_genesis(peers, rounds)))
            founding = await spent(hedera, start)
            for number in range(rounds):
                verdict = sample_verdict(peers, rounds).model_copy(update={"outcome": "rejected"})
                await hedera.submit(topic, canonical(verdict), key=f"verdict {number}")
            for number in range(2):
                await hedera.submit(topic, canonical(sample_vote(peers, rounds)), key=f"vote {number}")
            return founding, await spent(hedera, start) - founding

    with anyio.from_thread.start_blocking_portal() as portal:
        founding, running = portal.call(run)
    result = estimate(peers, rounds, settle_every=0)
    assert result.running[1].count == 2
    assert founding == in_tinybar(result.founding_cost, CENTS_10)
    assert running == in_tinybar(result.running_cost, CENTS_10)


def test_the_command_says_it_in_dollars_and_in_hbar_at_a_rate():
    plain = told("--peers", "5", "--rounds", "20")
    assert plain["microdollars"] == {
        "founding": 121_600,
        "round": 4_490,
        "participant": 17_960,
        "running": 89_800,
        "total": 211_400,
    }
    assert "tinybar" not in plain
    assert any("10% of the votes come too late" in line for line in plain["assumptions"])
    in_hbar = told("--peers", "5", "--rounds", "20", "--usd-per-hbar", "0.10")
    assert in_hbar["tinybar"]["total"] == 211_400_000
    without = told("--peers", "5", "--rounds", "20", "--settle-every", "0")
    assert without["microdollars"]["total"] == 94_000
    with_accounts = told("--peers", "5", "--rounds", "20", "--accounts", "5")
    assert with_accounts["microdollars"]["total"] == 211_400 + 5 * 50_000


def test_the_command_says_it_to_people():
    arguments = ["cost", "--peers", "6", "--rounds", "20", "--usd-per-hbar", "0.2"]
    lines = CliRunner().invoke(main, arguments).output.splitlines()
    assert lines[0] == "6 peers, 20 rounds: about $0.2610 (1.30500000 hbar)"
    assert any(line.split() == ["40", "x", "$0.0008", "chunks", "of", "verdicts"] for line in lines)
    assert "Assumed:" in lines


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "x", "0.0000001"])
def test_what_is_no_price_is_refused(rate):
    result = CliRunner().invoke(main, ["cost", "--peers", "5", "--rounds", "1", "--usd-per-hbar", rate])
    assert result.exit_code == 2
    assert "is no price" in result.output


def test_hbar_are_rounded_up():
    assert in_tinybar(Microdollars(1), Microdollars(300_000)) == 334
    assert Item("x", 3, Microdollars(7)).cost == 21


def test_it_needs_the_core_alone():
    heavy = ("hiero_sdk_python", "grpc", "torch", "libp2p", "trio", "numpy")
    code = f"import sys, node.cli.cost; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
