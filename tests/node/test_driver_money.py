"""Whole nodes and the run's money: transfers that records name, settlements, and what a crash must not change."""

from collections import Counter
from pathlib import Path

import anyio
import pytest

from learners.learner import LearnerError, Training
from node.admission import RunError, admitted
from node.driver import Driver
from protocol.deposits import deposit_memo
from protocol.fields import canonical
from protocol.ids import Round, digest_of
from protocol.messages import Choice, ProposalBody, VoteBody
from protocol.money import liabilities
from protocol.motions import (
    FaultRecord,
    LeaveBody,
    LeaveRecord,
    RotateBody,
    RotateRecord,
    SignedVote,
    UpgradeBody,
    UpgradeRecord,
)
from protocol.params import LearnerRef
from protocol.payments import FundRecord
from protocol.records import CloseRecord, PassBody
from protocol.signing import sign
from tests.node.nodes import INITIAL, Node, World, errors, only, running, world_of
from tests.node.world import SPEC, MemoryTopic, StubLearner
from tests.protocol.world import FUNDER, TREASURY, is_conserved

POOL = 10_000_000_000
MONEY = {"settle_every": 1, "settle_window": 10, "settle_fee": 10_000, "round_window": 3}


def is_over(nodes: list[Node]) -> bool:
    """Whether all has been paid, and everybody knows."""
    moneys = [node.state.money for node in nodes if node.driver.view.state]
    return len(moneys) == len(nodes) and all(m.wound_up and not m.owed and not m.settlement for m in moneys)


def balance(world: World) -> int:
    return sum(transfer.moved(TREASURY) for transfer in world.ledger.transfers)


async def test_a_settlement_is_signed_paid_and_recorded_by_all_and_once(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=3, **MONEY) as world:
        nodes = [world.node(place) for place in range(3)]
        await world.fund(POOL)
        async with running(*nodes):
            await world.until(lambda: is_over(nodes))
        money = nodes[0].state.money
        assert money.settlements >= 2
        assert [record.number for record in world.with_effect("settle")] == [*range(1, money.settlements + 1)]
        assert [record.number for record in world.with_effect("settled")] == [
            *range(1, money.settlements + 1)
        ]
        paid = Counter()
        for transfer in world.ledger.transfers[1:]:
            paid.update({account: moved for account, moved in transfer.moves if moved > 0})
        assert {account: paid[account] for account, _ in money.paid} == dict(money.paid)
        assert balance(world) == liabilities(money)
        assert is_conserved(nodes[0].state)


async def test_a_settlement_that_expires_is_recorded_as_failed_and_paid_by_the_next(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=2, **MONEY) as world:
        world.pays = False
        nodes = [world.node(place) for place in range(3)]
        await world.fund(POOL)
        async with running(*nodes):
            await world.until(lambda: all(node.driver.view.payment for node in nodes))
            await world.until(lambda: any(node.driver.means.treasury.signed for node in nodes))
            for node in nodes:
                node.driver.means.treasury.pays = True
            world.clock.ahead = 80.0
            await world.until(lambda: is_over(nodes))
        (failed,) = world.with_effect("failed")
        assert failed.number == 1
        expired = next(signed[0] for node in nodes if (signed := node.driver.means.treasury.signed))
        assert expired.memo not in [transfer.memo for transfer in world.ledger.transfers]
        assert 1 not in [record.number for record in world.with_effect("settled")]
        assert balance(world) == liabilities(nodes[0].state.money)


async def test_a_transfer_is_looked_up_until_the_mirror_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.reader._FIRST_PAUSE", 0.01)
    async with world_of(tmp_path, 2) as world:
        world.transfers.failures = 3
        node = world.node(0)
        await world.fund(POOL)
        async with running(node):
            await world.until(lambda: node.driver.view.live)
            assert (node.state.money.pool, world.transfers.failures) == (POOL, 0)


async def test_money_that_is_not_on_the_ledger_is_not_folded(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        node = world.node(0)
        await world.fund(POOL)
        run = world.genesis.run()
        memo = deposit_memo(run, "fund", FUNDER)
        failed = world.ledger.put(
            world.clock(), FUNDER, {FUNDER: -5, TREASURY: 5}, memo, result="INVALID_SIGNATURE"
        )
        for transaction in (failed, "0.0.1003-1700000000-000000077"):
            record = FundRecord(run=run, account=FUNDER, amount=5, transaction=transaction)
            await world.topic.submit(canonical(record))
        async with running(node):
            await world.until(lambda: node.driver.view.live)
            assert node.state.money.deposits == POOL


async def test_an_upgrade_to_another_learner_stops_a_node_that_has_the_old_one(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2, round_window=30) as world:
        await world.topic.submit(canonical(world.genesis))
        learner = LearnerRef(name=SPEC.name, spec=digest_of(b"another spec"))
        body = UpgradeBody(run=world.genesis.run(), number=1, learner=learner)
        signed = tuple((n, sign(world.identities[n].secret, "upgrade", body)) for n in range(2))
        nodes = [world.node(place) for place in range(2)]
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with running(*nodes):
                await world.until(lambda: all(node.driver.view.live for node in nodes))
                await world.topic.submit(canonical(UpgradeRecord(body=body, signatures=signed)))
                await world.until(lambda: False)
        for error in errors(caught.value, RunError):
            assert "this learner is stub" in str(error)
            assert "\n" not in str(error)
        assert nodes[0].state.totals.accepted > 0, "it stopped when the upgrade came into force"


async def test_who_is_thrown_out_stops_and_the_others_let_it_go(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=30) as world:
        await world.topic.submit(canonical(world.genesis))
        evidence = []
        for choice in (Choice.APPROVE, Choice.REJECT):
            body = VoteBody(
                run=world.genesis.run(), round=Round(1), proposal=INITIAL, voter=2, choice=choice, gain=0
            )
            evidence.append(SignedVote(body=body, sig=sign(world.identities[2].secret, "vote", body)))
        nodes = [world.node(place) for place in range(3)]
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with running(*nodes):
                await world.until(lambda: all(node.driver.view.live for node in nodes))
                fault = FaultRecord(member=2, first=evidence[0], second=evidence[1])
                await world.topic.submit(canonical(fault))
                await world.until(lambda: False)
        assert "was thrown out of run" in str(only(caught.value, RunError))
        assert world.identities[2].peer not in admitted(nodes[0].state, world.identities[0].peer)
        with pytest.raises(ExceptionGroup) as again:
            await world.node(2).driver.run()
        assert str(only(again.value, RunError)) == str(only(caught.value, RunError))


def leave(world: World, place: int) -> bytes:
    body = LeaveBody(run=world.genesis.run(), member=place, term=1)
    return canonical(LeaveRecord(body=body, sig=sign(world.identities[place].secret, "leave", body)))


async def test_who_has_left_and_signs_nothing_any_more_ends(tmp_path: Path) -> None:
    rules = MONEY | {"settle_every": 1_000_000}
    async with world_of(tmp_path, 3, **rules) as world, anyio.create_task_group() as tasks:
        await world.fund(POOL)
        nodes, ended = [world.node(place) for place in range(3)], anyio.Event()

        async def see_out() -> None:
            await nodes[2].driver.run()
            ended.set()

        for node in nodes[:2]:
            tasks.start_soon(node.driver.run)
        tasks.start_soon(see_out)
        await world.until(lambda: all(node.driver.view.live for node in nodes))
        await world.topic.submit(leave(world, 2))
        await world.until(lambda: 2 not in nodes[2].state.seated)
        assert admitted(nodes[2].state, nodes[2].identity.peer) == frozenset()
        assert not ended.is_set(), "it holds a key, and payments may need it"
        run, keys = world.genesis.run(), (0, 1)
        body = RotateBody(run=run, number=1, required=2, keys=keys)
        signed = tuple((place, sign(world.identities[place].secret, "rotate", body)) for place in keys)
        await world.topic.submit(canonical(RotateRecord(body=body, signatures=signed)))
        await world.until(ended.is_set)
        with pytest.raises(ExceptionGroup) as again:
            await world.node(2).driver.run()
        assert "has left run" in str(only(again.value, RunError))
        tasks.cancel_scope.cancel()


async def test_where_everybody_leaves_all_is_paid_nevertheless(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2, **MONEY) as world, anyio.create_task_group() as tasks:
        await world.fund(POOL)
        nodes = [world.node(place) for place in range(2)]
        for node in nodes:
            tasks.start_soon(node.driver.run)
        await world.until(lambda: all(node.driver.view.live for node in nodes))
        for place in range(2):
            await world.topic.submit(leave(world, place))
        await world.until(lambda: is_over(nodes[:1]))
        state = nodes[0].state
        assert state.open is None
        assert not state.seated
        assert balance(world) == liabilities(state.money)
        tasks.cancel_scope.cancel()


class Broken(StubLearner):
    """A learner that cannot train any more."""

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        self.proposals.append(round)
        raise LearnerError("the disk with the data is gone")


async def test_who_proposed_before_a_crash_signs_no_pass_after_it(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2, max_rounds=1, round_window=30) as world:
        await world.topic.submit(canonical(world.genesis))
        proposer = world.opened().open.proposer
        first = world.node(proposer)
        async with running(first):
            await world.until(lambda: first.driver.view.work.proposal)
        said = first.driver.view.work.proposal
        again, other = world.node(proposer, Broken()), world.node(1 - proposer)
        async with running(again, other):
            await world.until(lambda: again.driver.view.state and again.state.last is not None)
            assert again.state.last.ending == "accepted"
            assert again.state.last.proposal.body == said.body
        assert len(again.learner.proposals) == 2, "it failed twice, and would have passed"
        assert world.with_effect("pass") == []


async def test_a_pass_stands_where_a_proposal_would_come_after_it(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        run = world.genesis.run()
        passed = world.node(0).driver._sign(PassBody(run=run, round=Round(1)))
        opening = {"sequence": 1, "running_hash": "A" * 64, "state": INITIAL}
        proposal = {"run": run, "round": 1, "base": INITIAL, "candidate": INITIAL, "size": 8, "proposer": 0}
        shares = ({"account": "0.0.1000", "share": 1_000_000},)
        body = ProposalBody.model_validate({**proposal, "opening": opening, "contributors": shares})
        assert world.node(0).driver._sign(body) == passed


# ---- submissions ----


def bodies(topic: MemoryTopic) -> list[bytes]:
    return [message.body for message in topic.messages]


async def put(driver: Driver, record: CloseRecord) -> None:
    await driver._submissions.submit(record, driver.core.copies.key_of(record))


def come_back(driver: Driver, topic: MemoryTopic, since: int = 0) -> None:
    for message in topic.messages[since:]:
        driver.core.copies.on_read(message.sequence, message.payer, message.body)
        driver.core.copies.on_folded(message.sequence)


async def test_a_record_is_written_again_only_when_its_copy_has_come_back(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        topic, record = world.topic, CloseRecord(run=world.genesis.run(), round=Round(1))
        driver = world.node(0).driver
        for _ in range(3):
            await put(driver, record)
        assert bodies(topic) == [canonical(record)], "asked for three times, written once"
        come_back(driver, topic)
        for _ in range(3):
            await put(driver, record)
        assert bodies(topic) == [canonical(record)] * 2, "it came back and is asked for: it came too early"


async def test_after_a_crash_what_may_be_on_the_topic_is_not_written_again(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        topic, record = world.topic, CloseRecord(run=world.genesis.run(), round=Round(1))
        await put(world.node(0).driver, record)
        again = world.node(0).driver
        await put(again, record)
        assert len(topic.messages) == 1
        come_back(again, topic)
        await put(again, record)
        assert len(topic.messages) == 2


async def test_copies_of_others_do_not_count(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        topic, record = world.topic, CloseRecord(run=world.genesis.run(), round=Round(1))
        ours, theirs = (world.node(place).driver for place in range(2))
        await put(ours, record)
        at = len(topic.messages)
        await put(theirs, record)
        come_back(ours, topic, at)
        await put(ours, record)
        assert len(topic.messages) == 2, "ours is under way, whatever became of theirs"
