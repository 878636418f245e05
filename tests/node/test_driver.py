"""Whole nodes with the real driver, step, fold, journal and store, on asyncio: a stub learner, a topic in memory."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import anyio
import coincurve
import pytest

from learners.learner import Comparison, LearnerError, Training
from ledger.topic import LedgerError
from node.admission import RunError, admitted
from node.blobs import Blobs
from node.core import Admit
from node.home import NodeError
from node.identity import identity_of
from node.net.transport import Blame, FetchFailed
from node.partial import Partial
from node.submissions import MAX_SUBMISSIONS, MAX_WAITING
from protocol.fields import canonical
from protocol.ids import AccountId, PeerId, Ppm, Round, digest_of
from protocol.messages import Proposal, ProposalBody
from protocol.params import LearnerRef
from protocol.records import CloseRecord, Member
from protocol.state import state_digest
from protocol.view import Fetch, FetchingFailed, Gone, Score, ScoringFailed, Train
from tests.node.nodes import INITIAL, only, running, world_of
from tests.node.world import SPEC, StubLearner


async def test_three_nodes_learn_together(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=6, round_window=30) as world:
        nodes = [world.node(place) for place in range(3)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
            await world.until(lambda: all(n.learner.adopted and n.learner.adopted[-1] == 6.0 for n in nodes))
        for node in nodes:
            assert node.state.totals.accepted == 6
            assert len(node.learner.proposals) == 2, "in six rounds of three members everybody has two turns"
        assert len({state_digest(node.state) for node in nodes}) == 1


async def test_what_gets_worse_is_rejected(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=3, round_window=30) as world:
        nodes = [world.node(0, StubLearner(step=-1.0)), world.node(1), world.node(2)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
        assert nodes[0].state.totals.accepted == 2
        assert nodes[0].state.totals.rejected == 1


async def test_malformed_weights_are_rejected_and_stop_nobody(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=3, round_window=30) as world:
        nodes = [world.node(0, StubLearner(step=float("inf"))), world.node(1), world.node(2)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
        assert (nodes[1].state.totals.rejected, nodes[1].state.totals.accepted) == (1, 2)


async def test_a_node_that_comes_back_has_the_head_and_votes_on(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=9, round_window=2, inactive_after=2) as world:
        first, second, third = (world.node(place) for place in range(3))
        await world.topic.submit(canonical(world.genesis))
        async with running(first, second):
            async with running(third):
                await world.until(lambda: first.driver.view.state and first.state.totals.accepted >= 2)
            at = first.state.open.number
            await world.until(lambda: first.state.open is not None and first.state.open.number >= at + 2)
            again = world.node(2)
            async with running(again):
                await world.until(
                    lambda: all(n.driver.view.state and n.state.open is None for n in (first, again))
                )
                await world.until(lambda: again.learner.adopted)
        assert again.state.totals == first.state.totals
        assert again.learner.adopted, "it fetched the head from the others"
        assert state_digest(again.state) == state_digest(first.state)


async def test_nobody_signs_twice_in_a_round(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3) as world:
        driver = world.node(0).driver
        bodies = [
            ProposalBody.model_validate(
                {
                    "run": world.genesis.run(),
                    "round": 1,
                    "base": INITIAL,
                    "candidate": digest_of(name),
                    "size": 8,
                    "opening": {"sequence": 1, "running_hash": "A" * 64, "state": INITIAL},
                    "contributors": ({"account": "0.0.1000", "share": 1_000_000},),
                    "proposer": 0,
                }
            )
            for name in (b"one", b"two")
        ]
        first = driver._sign(bodies[0])
        second = world.node(0).driver._sign(bodies[1])
        assert second == first, "after a restart it says again what it said before"


@pytest.mark.parametrize("raw", [b"", b"{", b'{"kind":"vote"}', b"\x00" * 1000])
async def test_a_malformed_frame_costs_the_sender_its_connection(tmp_path: Path, raw: bytes) -> None:
    async with world_of(tmp_path, 2) as world:
        dropped = []

        class Listener:
            def drop(self, peer, reason):
                dropped.append((peer, reason))

        driver = world.node(0).driver
        driver._transport = Listener()
        await driver._on_frame(world.identities[1].peer, raw)
        assert [peer for peer, _ in dropped] == [world.identities[1].peer]
        assert "\n" not in dropped[0][1]


async def test_a_lying_member_is_cut_off_and_the_run_goes_on(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=2, round_window=3) as world:
        nodes = [world.node(place) for place in range(2)]
        await world.topic.submit(canonical(world.genesis))
        liar = world.identities[2]
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.live for n in nodes))
            transport = world.network.join(liar.peer, Blobs(tmp_path / "liar"))
            transport.admit(frozenset(node.identity.peer for node in nodes))
            current = nodes[0].state.open
            body = ProposalBody(
                run=world.genesis.run(),
                round=current.number,
                base=INITIAL,
                candidate=INITIAL,
                size=8,
                opening=current.opening,
                contributors=({"account": AccountId("0.0.1002"), "share": 1_000_000},),
                proposer=current.proposer,
            )
            forged = Proposal(body=body, signature=_signature_of(b"\x09" * 32))
            await world.until(lambda: transport.send(nodes[0].identity.peer, canonical(forged)))
            await world.until(lambda: not transport.send(nodes[0].identity.peer, canonical(forged)))
            await world.until(lambda: nodes[0].state.open is None)


async def test_the_transport_follows_the_roster(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        nodes = [world.node(place) for place in range(2)]
        one, other = (node.identity.peer for node in nodes)
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: world.network.is_connected(one, other))
            newcomer = Member(peer=identity_of(b"\x07" * 32).peer, account=AccountId("0.0.1002"))
            transport = world.network.join(newcomer.peer, Blobs(tmp_path / "newcomer"))
            transport.admit(frozenset((one, other)))
            assert not transport.send(one, b"hello")
            driver, state = nodes[0].driver, nodes[0].state
            driver._admit(Admit(admitted(state, one) | {newcomer.peer}, ()))
            assert world.network.is_connected(one, newcomer.peer)
            assert not world.network.is_connected(other, newcomer.peer)
            driver._admit(driver.core.admission)
            assert not world.network.is_connected(one, newcomer.peer)
            assert world.network.is_connected(one, other)


def _signature_of(secret: bytes) -> str:
    from protocol.ids import base64url

    return base64url(coincurve.PrivateKey(secret).sign_recoverable(b"\x01" * 32, hasher=None)[:64])


async def test_a_stranger_to_the_run_does_not_start(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        await world.topic.submit(canonical(world.genesis))
        world.identities.append(identity_of(b"\x07" * 32))
        with pytest.raises(ExceptionGroup) as caught:
            await world.node(2).driver.run()
        assert "is not in the roster" in str(only(caught.value, RunError))


async def test_a_topic_without_a_run_is_refused(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        await world.topic.submit(b"hello")
        with pytest.raises(ExceptionGroup) as caught:
            await world.node(0).driver.run()
        assert "no run was founded" in str(only(caught.value, RunError))


async def test_another_learner_is_refused(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        other = world.genesis.params.model_copy(
            update={"learner": LearnerRef(name="other", spec=SPEC.digest())}
        )
        await world.topic.submit(canonical(world.genesis.model_copy(update={"params": other})))
        with pytest.raises(ExceptionGroup) as caught:
            await world.node(0).driver.run()
        assert "this learner is stub" in str(only(caught.value, RunError))


async def test_a_ledger_that_is_away_loses_no_round(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2, max_rounds=1, round_window=3) as world:
        nodes = [world.node(place) for place in range(2)]
        await world.topic.submit(canonical(world.genesis))
        submit, failures = world.topic.submit, []

        async def away(body: bytes, **options: object) -> None:
            if len(failures) < 2:
                failures.append(body)
                raise LedgerError("the network is away")
            await submit(body, **options)

        world.topic.submit = away
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
        assert len(failures) == 2
        assert nodes[0].state.totals.accepted == 1


class Faulty(StubLearner):
    """A learner with one fault, made of the stub."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        if self.fault == "dies half way":
            out.with_name(out.name + ".tmp").write_bytes(b"half")
            raise LearnerError("the learner died")
        if self.fault == "writes nothing":
            return Training(labels=1, labels_total=1, loss=0.0)
        return await super().propose(head, round, out, deadline)

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        found = await super().score(head, candidate, round, deadline)
        return replace(found, gain=Ppm(10**9)) if self.fault == "exaggerates" else found


@pytest.mark.parametrize("fault", ["dies half way", "writes nothing", "exaggerates"])
async def test_a_faulty_learner_stops_no_daemon_and_leaves_no_litter(tmp_path: Path, fault: str) -> None:
    async with world_of(tmp_path, 3, max_rounds=3, round_window=3) as world:
        nodes = [world.node(0, Faulty(fault)), world.node(1), world.node(2)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
        totals = nodes[0].state.totals
        assert (totals.accepted, totals.passed) == ((3, 0) if fault == "exaggerates" else (2, 1))
        assert not list((tmp_path / "0" / "blobs").glob("*.tmp"))


async def test_a_blob_that_vanished_stops_no_daemon(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3) as world:
        driver = world.node(0).driver
        await driver._learning.score(Score(Round(1), INITIAL, digest_of(b"gone")))
        assert await driver._outbox.receive() == Gone(INITIAL), "so that it is fetched again"
        assert await driver._outbox.receive() == ScoringFailed(Round(1), digest_of(b"gone"))


@pytest.mark.parametrize("error", [FetchFailed("it hung up"), OSError(28, "No space left on device")])
async def test_a_fetch_that_fails_stops_no_daemon_and_leaves_no_litter(
    tmp_path: Path, error: Exception
) -> None:
    async with world_of(tmp_path, 2) as world:
        driver = world.node(0).driver

        class Failing:
            async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
                blame(sources[0], "it hung up")
                raise error

        driver._transport = Failing()
        wanted = digest_of(b"wanted")
        await driver._fetch(Fetch(wanted, 6, (world.identities[1].peer,)))
        assert await driver._outbox.receive() == FetchingFailed(wanted)
        assert not list((tmp_path / "0" / "blobs").iterdir())


async def test_a_transport_that_delivers_other_bytes_stops_no_daemon(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        driver = world.node(0).driver

        class Careless:
            async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
                assert not partial.write(0, b"other!")

        driver._transport = Careless()
        wanted = digest_of(b"wanted")
        await driver._fetch(Fetch(wanted, 6, (world.identities[1].peer,)))
        assert await driver._outbox.receive() == FetchingFailed(wanted)


async def test_an_outage_of_the_ledger_piles_up_nothing(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world, anyio.create_task_group() as tasks:
        driver, back, begun = world.node(0).driver, anyio.Event(), []
        submissions = driver._submissions

        async def away(body: bytes, **options: object) -> None:
            begun.append(body)
            await back.wait()

        world.topic.submit = away
        closes = [CloseRecord(run=world.genesis.run(), round=Round(n)) for n in range(1, 3 * MAX_WAITING)]
        for record in [closes[0]] * 100 + closes:
            tasks.start_soon(submissions.submit, record, driver.core.copies.key_of(record))
        await anyio.wait_all_tasks_blocked()
        assert len(begun) == MAX_SUBMISSIONS
        assert len(submissions._waiting) == MAX_WAITING
        back.set()
        await world.until(lambda: not submissions._waiting)
        assert len(begun) == len(set(begun)) == MAX_WAITING


async def test_a_slow_learner_skips_the_rounds_that_it_missed(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world, anyio.create_task_group() as tasks:
        driver, asked, go = world.node(0).driver, [], anyio.Event()

        async def slow(effect: Score | Train) -> None:
            asked.append((type(effect).__name__, effect.round))
            await go.wait()

        learning = driver._learning
        learning.score = learning.train = slow
        for number in range(1, 8):
            tasks.start_soon(learning.turn, Score(Round(number), INITIAL, INITIAL))
        for number in range(1, 8):
            driver.core._training = Train(Round(number), INITIAL)
            tasks.start_soon(learning.turn, driver.core._training)
        await anyio.wait_all_tasks_blocked()
        assert asked == [("Score", 1)]
        driver.core.view = SimpleNamespace(state=SimpleNamespace(last=SimpleNamespace(number=6)))
        go.set()
        await anyio.wait_all_tasks_blocked()
        assert asked == [("Score", 1), ("Score", 6), ("Score", 7), ("Train", 7)]


class Rotting(StubLearner):
    """Whose disk spoils what was compared, every other time, before anybody looks at it again."""

    rotted = 0

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        found = await super().score(head, candidate, round, deadline)
        if round % 2:
            candidate.write_bytes(b"rotten!!")  # read as a number it is about 0
            self.rotted += 1
        return found


async def test_a_blob_that_rots_is_fetched_again_before_it_is_scored(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=30) as world:
        learner = Rotting()
        nodes = [world.node(0), world.node(1), world.node(2, learner)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: learner.rotted >= 3 and nodes[2].state.totals.accepted >= 9)
    votes = [vote for record in world.with_effect("verdict") for vote in record.votes]
    assert votes
    assert all(choice in ("approve", "abstain") for _, choice, _, _ in votes), "nobody rejects what is right"


async def test_a_disk_that_is_full_at_the_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    async with world_of(tmp_path, 1) as world:
        node = world.node(0)
        monkeypatch.setattr("node.blobs.tempfile.mkstemp", full)
        with pytest.raises(NodeError, match="No space left on device; free the disk"):
            await node.driver.run()
