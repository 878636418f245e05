"""The commands of members with money, against a network of our own with the real SDK; no daemon takes part."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest

from ledger.hedera import Hedera, open_hedera
from ledger.outbox import UNLIMITED, Outbox
from ledger.treasury import Treasury
from node.amounts import tinybar_of
from node.deposits import Deposit, pay
from node.founding import Terms
from node.home import held
from protocol.fields import canonical
from protocol.ids import Tinybar, TopicId, digest_of
from protocol.motions import EndBody, EndRecord
from protocol.payments import SettledRecord, SettleRecord
from protocol.settlement import payout_of
from protocol.transfers import Transfer
from tests.e2e.conftest import ROOT, roundabout
from tests.e2e.founded import write_toml
from tests.e2e.moneyed import HBAR, Moneyed, MoneyedRun, moneyed


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moneyed]:
    with moneyed(tmp_path_factory.mktemp("moneyed")) as world:
        yield world


def balance_of(world: Moneyed, account: str) -> int:
    async def ask(hedera: Hedera) -> int:
        return (await hedera.mirror.account(account)).balance.balance

    return int(world.call(ask))


def founding_file(world: Moneyed, file: Path, **treasury: object) -> Path:
    """What `roundabout found` takes."""
    operator = world.home / "operator.key"
    operator.write_text(world.localnet.key)
    network = world.localnet.network
    ledger = {"network": "localnet", "mirror": network.mirror_rest, "mirror_grpc": network.mirror_grpc}
    ledger |= {"account": world.localnet.operator, "key_file": str(operator)}
    members = [{"peer": world.identity(n).peer, "account": world.accounts[n]} for n in range(3)]
    tables = {"": {}, "members": members, "ledger": ledger, "ledger.nodes": dict(network.nodes)}
    write_toml(
        file, tables | {"params": {"round_window": 60, "contribution_window": 0}, "treasury": treasury}
    )
    return file


def test_a_run_is_founded_with_a_treasury_and_funded_once(world: Moneyed, tmp_path: Path) -> None:
    file = founding_file(world, tmp_path / "run.toml", fund=25 * HBAR)
    done = roundabout("found", str(file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    run = MoneyedRun(world, told["topic"])
    state = run.state()
    assert (state.run, state.money.treasury) == (told["run"], told["treasury"])
    assert (state.money.keys.required, state.money.keys.places) == (2, (0, 1, 2))
    assert state.money.pool == 25 * HBAR == balance_of(world, told["treasury"])

    again = roundabout("found", str(file))
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == [
        f"topic {told['topic']}",
        f"run {told['run']}",
        f"treasury {told['treasury']}",
        "pool 25 hbar",
    ]
    assert run.state().money.deposits == 25 * HBAR == balance_of(world, told["treasury"])

    founding_file(world, file, fund=26 * HBAR)
    changed = roundabout("found", str(file))
    assert (changed.returncode, changed.stdout) == (2, "")
    assert f"was begun (topic {told['topic']})" in changed.stderr


def test_money_comes_in_once_a_name(world: Moneyed) -> None:
    run = world.found(3)
    told = run.do(0, "fund", "--amount", "2.5")
    assert (told["amount"], told["id"]) == (250_000_000, "2.5 hbar")
    again = run.run(0, "fund", "--amount", "2.5")
    assert again.exit_code == 0
    assert "counted before" in again.stdout
    run.do(0, "fund", "--amount", "2.5", "--id", "a second time")
    other = run.refused(0, "fund", "--amount", "3", "--id", "a second time")
    assert "another amount before; nothing was sent: give that amount again, or another --id" in other
    run.do(1, "topup", "--amount", "3.00000001")
    state = run.state()
    assert state.money.pool == 5 * HBAR
    assert state.money.funds == ((world.accounts[0], 5 * HBAR),)
    assert state.money.stakes == (0, 3 * HBAR + 1, 0)
    assert balance_of(world, str(state.money.treasury)) == 8 * HBAR + 1
    shown = run.do(1, "balance")
    assert shown["pool"] == 5 * HBAR
    assert [(m["place"], m["stake"]) for m in shown["members"]] == [(1, 3 * HBAR + 1)]


def test_a_deposit_is_carried_on_with_after_a_crash(world: Moneyed) -> None:
    run = world.found(3)
    state, identity = run.state(), world.identity(2)
    home = run.config(2).parent / "data" / "commands"
    home.mkdir(parents=True)

    async def pay_and_die() -> str:
        net = world.localnet.network
        deposit = Deposit("topup", identity.peer, tinybar_of("7"), "7 hbar")
        with Outbox.open(home / "outbox.db", UNLIMITED) as outbox:
            async with open_hedera(net, world.accounts[2], identity.secret, outbox=outbox) as hedera:
                return await pay(hedera, state, deposit)

    paid = anyio.run(pay_and_die)
    assert run.state().money.stakes[2] == 0
    told = run.do(2, "topup", "--amount", "7")
    assert told["transaction"] == paid
    assert run.state().money.stakes[2] == 7 * HBAR == balance_of(world, str(state.money.treasury))


def test_who_may_not_write_pays_nothing_unless_a_member_hands_it_in(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3), tmp_path / "fund.json"
    treasury = str(run.state().money.treasury)
    assert f"2 roundabout: {world.accounts[4]} may not write" in run.refused(4, "fund", "--amount", "1")
    assert balance_of(world, treasury) == 0
    run.do(4, "fund", "--amount", "1", "--out", str(file))
    assert "into the pool" in run.run(0, "motion", "show", str(file)).stdout
    run.do(0, "motion", "submit", str(file))
    assert run.state().money.funds == ((world.accounts[4], HBAR),)


def test_a_newcomer_joins_by_vote(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3, stake_min=HBAR), str(tmp_path / "join.json")
    assert "members vote" in run.refused(3, "motion", "join")
    told = run.do(3, "motion", "join", "--out", file, "--account", "0.0.9999")
    assert (told["stake"], told["signed"], told["needed"]) == (HBAR, [], 2)
    assert run.do(3, "motion", "join", "--out", file, "--account", "0.0.9999") == told
    assert "give that amount again" in run.refused(3, "motion", "join", "--stake", "2", "--out", file)
    assert balance_of(world, str(run.state().money.treasury)) == HBAR

    shown = run.run(1, "motion", "show", file)
    assert shown.exit_code == 0
    assert f"join: {world.identity(3).peer} takes part" in shown.stdout
    assert "a stake of 1 hbar" in shown.stdout
    assert "its earnings go to 0.0.9999" in shown.stdout
    assert "signatures: 0 of the 2 that it needs, from 3" in shown.stdout
    assert "1 roundabout: the join has no effect: a join with 0 of 3" in run.refused(
        1, "motion", "submit", file
    )
    assert run.refused(3, "motion", "sign", file).startswith("1 roundabout: not signed: ")
    run.do(2, "motion", "sign", file)
    assert run.do(0, "motion", "sign", file)["signed"] == [0, 2]
    assert run.do(0, "motion", "sign", file)["signed"] == [0, 2]
    told = run.do(1, "motion", "submit", file)
    assert run.do(1, "motion", "submit", file) == told
    state = run.pass_turns(lambda state: 3 in state.seated)
    assert state.money.stakes == (0, 0, 0, HBAR)
    assert "a join with a transfer that has counted before" in run.refused(0, "motion", "sign", file)


def test_who_is_voted_in_may_pay_the_stake_then(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3, Terms(2, anyone_writes=True), stake_min=HBAR), str(tmp_path / "join.json")
    asked = run.run(4, "motion", "join", "--stake", "0", "--out", file)
    assert "once it is on the topic, pay 1 hbar with `roundabout topup`" in asked.stdout
    assert "is no member" in run.refused(4, "topup", "--amount", "1")
    run.do(0, "motion", "sign", file)
    run.do(1, "motion", "sign", file)
    run.do(1, "motion", "submit", file)
    run.do(4, "topup", "--amount", "1")
    assert run.state().money.stakes == (0, 0, 0, HBAR)
    assert run.state().money.deposits == HBAR


def test_new_keys_wait_until_the_open_settlement_is_over(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3, unbonding_rounds=0, settle_every=1), str(tmp_path / "rotate.json")
    run.do(0, "fund", "--amount", "1")
    run.do(2, "topup", "--amount", "4")
    run.do(2, "motion", "leave")
    state = run.pass_turns(lambda state: bool(state.money.owed))
    run.put(canonical(SettleRecord(run=state.run, number=1)))
    run.do(0, "motion", "rotate", "--out", file)
    assert "a rotation with 1 of 2 signatures" in run.refused(0, "motion", "submit", file)
    signed = run.run(1, "motion", "sign", file).stdout
    assert "it would take effect once settlement 1 is over; `motion submit` waits for that" in signed
    command = [sys.executable, "-m", "node.cli", "motion", "submit", "--config", str(run.config(1)), file]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "settlement 1 is open; the rotation waits until it is over\n"
        settle(run)
        output, errors = waiting.communicate(timeout=60)
    assert (waiting.returncode, errors) == (0, "")
    assert "took effect with message" in output
    money = run.state().money
    assert (money.rotations, money.owed) == (1, ())


def settle(run: MoneyedRun) -> None:
    """Sign the open settlement as the first two members, and say that it was paid."""
    state = run.state()
    payout = payout_of(state)
    assert payout is not None
    for person in (0, 1):
        run.world.call(lambda hedera: Treasury(hedera, None).sign(payout), person)

    async def paid(hedera: Hedera) -> Transfer:
        while True:
            done = await Treasury(hedera, None).outcome(payout)
            if done is not None:
                return done
            await anyio.sleep(0.1)

    run.put(canonical(SettledRecord(run=state.run, number=1, transaction=run.world.call(paid).id)))


def test_with_open_admission_a_newcomer_needs_nobody(world: Moneyed) -> None:
    run = world.found(2, Terms(2, anyone_writes=True), admission="open", stake_min=2 * HBAR)
    assert "a stake of 1 hbar; this run asks for 2 hbar" in run.refused(4, "motion", "join", "--stake", "1")
    told = run.do(4, "motion", "join", "--stake", "2")
    assert told["term"] == 1
    state = run.state()
    assert (state.roster[2].account, state.seats.joining) == (world.accounts[4], {2})
    assert "a join of a member" in run.refused(4, "motion", "join")
    assert run.do(4, "balance")["members"][0]["status"] == "joins with the next epoch"


def test_a_member_leaves_and_gets_its_stake_back(world: Moneyed) -> None:
    run = world.found(3, unbonding_rounds=1)
    run.do(1, "topup", "--amount", "4")
    told = run.do(1, "motion", "leave")
    assert run.do(1, "motion", "leave") == told
    left = run.pass_turns(lambda state: 1 not in state.seated)
    assert [(part.place, part.amount) for part in left.money.unbonding] == [(1, 4 * HBAR)]
    run.pass_turns(lambda state: not state.money.unbonding)
    shown = run.run(1, "balance")
    assert "has left" in shown.stdout
    assert "owed 4 hbar" in shown.stdout
    assert "is no member" in run.refused(1, "topup", "--amount", "1")


def test_rules_change_and_the_run_ends(world: Moneyed, tmp_path: Path) -> None:
    run = world.found(3)
    rules, end, other = (str(tmp_path / name) for name in ("rules.json", "end.json", "other.json"))
    change = ("motion", "params", "--set", "stake_min=200000000", "--set", "round_window=2")
    told = run.do(0, *change, "--out", rules)
    assert (told["signed"], told["needed"]) == ([0], 2)
    run.do(0, "motion", "params", "--set", "settle_every=7", "--out", other)
    lines = run.run(1, "motion", "sign", rules).stdout.splitlines()
    assert "  round_window: 60 -> 2" in lines
    assert "  stake_min: 0 tinybar (0 hbar) -> 200000000 tinybar (2 hbar)" in lines
    assert "it would take effect now" in lines
    run.do(1, "motion", "submit", rules)
    assert "amendment 1 was decided before" in run.refused(2, "motion", "sign", other)
    run.pass_turns(lambda state: state.params.stake_min == 2 * HBAR)
    run.do(2, "motion", "end", "--out", end)
    assert "1 of 3 signatures" in run.refused(2, "motion", "submit", end)
    run.do(0, "motion", "sign", end)
    run.do(2, "motion", "submit", end)
    run.pass_turns(lambda state: state.open is None)
    assert "the run has ended" in run.refused(0, "fund", "--amount", "1")


def test_new_keys_are_decided_by_the_old_ones(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3), str(tmp_path / "rotate.json")
    peer = world.identity(2).peer
    assert "below its fee" in run.refused(0, "motion", "rotate", "--out", file)
    run.do(0, "fund", "--amount", "1")
    assert "is no member" in run.refused(0, "motion", "rotate", "--without", "x", "--out", file)
    run.do(0, "motion", "rotate", "--without", peer, "--out", file)
    run.do(2, "motion", "sign", file)
    run.do(2, "motion", "submit", file)
    settlement = run.do(0, "balance")["settlement"]
    assert (settlement["number"], settlement["kind"]) == (1, "rotation")
    keys = run.state().money.settlement
    assert keys is not None
    assert keys.keys is not None
    assert keys.keys.places == (0, 1)


def test_signatures_of_who_has_no_say_any_more_are_left_out(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(4, Terms(3)), str(tmp_path / "end.json")
    run.do(3, "motion", "end", "--out", file)
    run.do(3, "motion", "leave")
    run.pass_turns(lambda state: 3 not in state.seated)
    run.do(0, "motion", "sign", file)
    for_file = json.loads(Path(file).read_text())
    assert [place for place, _ in for_file["signatures"]] == [0]
    run.do(1, "motion", "sign", file)
    run.do(1, "motion", "submit", file)
    assert run.state().seats.ending


def test_balance_needs_no_account(world: Moneyed) -> None:
    run = world.found(3, Terms(2, Tinybar(5)))
    url = world.localnet.network.mirror_rest
    done = roundabout("balance", "--topic", run.topic, "--mirror", url)
    assert done.returncode == 0, done.stderr
    assert "pool 0.00000005 hbar" in done.stdout
    assert done.stdout.count("\nmember ") == 3
    nowhere = roundabout("balance", "--topic", "0.0.99999", "--mirror", url)
    assert nowhere.returncode == 2
    assert "knows nothing of topic 0.0.99999" in nowhere.stderr


def test_another_learner_is_voted_for(world: Moneyed, tmp_path: Path) -> None:
    run, file = world.found(3), str(tmp_path / "upgrade.json")
    spec = digest_of(b"another spec")
    run.do(0, "motion", "upgrade", "--learner", "other", "--spec", spec, "--out", file)
    assert "  learner: stub -> other" in run.run(1, "motion", "sign", file).stdout.splitlines()
    run.do(2, "motion", "submit", file)
    learner = run.pass_turns(lambda state: not state.seats.pending).params.learner
    assert (learner.name, learner.spec) == ("other", spec)


@pytest.mark.parametrize("act", ["show", "sign", "submit"])
@pytest.mark.parametrize(
    ("raw", "says"),
    [(b"", "not JSON"), (b"[" * 10**5, "not JSON"), (b'{"op":"end"}', "malformed"), (None, "No such")],
)
def test_a_file_that_is_no_motion_is_one_line(
    world: Moneyed, tmp_path: Path, act: str, raw: bytes | None, says: str
) -> None:
    file = tmp_path / "motion.json"
    if raw is not None:
        file.write_bytes(raw)
    run = MoneyedRun(world, TopicId("0.0.1"))  # which nobody asks for
    line = run.refused(0, "motion", act, str(file))
    assert line.startswith("2 roundabout: ")
    assert says in line


def test_a_motion_of_another_run_is_not_signed(world: Moneyed, tmp_path: Path) -> None:
    mine, other, file = world.found(3), world.found(3, settle_every=3), str(tmp_path / "end.json")
    mine.do(0, "motion", "end", "--out", file)
    before = Path(file).read_bytes()
    assert other.refused(1, "motion", "sign", file).startswith("1 roundabout: not signed: ")
    assert "of another run" in other.refused(1, "motion", "submit", file)
    assert Path(file).read_bytes() == before
    shown = other.run(1, "motion", "show", file)
    assert (shown.exit_code, "it would have no effect: a end of another run" in shown.stdout) == (1, True)


def test_two_commands_at_a_time_do_not_pay_twice(world: Moneyed) -> None:
    run = world.found(3)
    with held(run.config(0).parent / "data" / "commands"):
        assert "another command uses" in run.refused(0, "fund", "--amount", "1")
    assert run.state().money.deposits == 0


@pytest.mark.parametrize("amount", ["0", "-1", "1e3", "0.000000001", "nan"])
def test_an_amount_that_is_none_is_refused(world: Moneyed, amount: str) -> None:
    run = MoneyedRun(world, TopicId("0.0.1"))
    line = run.refused(0, "fund", "--amount", amount)
    assert line.startswith("2 roundabout: Invalid value for '--amount'")


def test_more_than_the_account_holds_is_not_paid(world: Moneyed) -> None:
    run = world.found(3)
    line = run.refused(1, "topup", "--amount", "5000")
    assert line.startswith("2 roundabout: cannot transfer to ")
    assert run.state().money.deposits == 0


def test_a_run_without_a_treasury_takes_no_money(world: Moneyed) -> None:
    run = world.found(3, Terms(None))
    assert "founded without a treasury" in run.refused(0, "fund", "--amount", "1")
    assert "founded without a treasury" in run.refused(0, "topup", "--amount", "1")
    assert "nobody pays or earns anything" in run.run(0, "balance").stdout


def test_what_others_write_to_the_topic_changes_nothing(world: Moneyed) -> None:
    run = world.found(3)
    state = run.state()
    run.put(b"not ours at all")
    run.put(canonical(EndRecord(body=EndBody(run=state.run, number=1), signatures=())))
    assert run.state() == state
