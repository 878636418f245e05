"""Real daemons under attack by two of their members and by strangers: they decide rounds, and stay small."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
import pytest
import trio

from node.blobs import stored_blob
from protocol.fields import canonical
from protocol.ids import Ppm, digest_of, unbase64url
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Vote, VoteBody
from protocol.signing import sign
from tests.e2e.conftest import ROOT
from tests.e2e.living import ENVIRONMENT, LivingRun, living
from tests.e2e.moneyed import Moneyed, moneyed
from tests.fuzz.batches import Batch, fetchers, multiplexers, outsiders, strangers, talkers
from tests.fuzz.hostile import Door, is_let_in

HONEST, BAD = (0, 1, 2), (3, 4)
GROWTH = 64 * 1024 * 1024
"""Bytes by which a daemon may be larger after all attacks than before them: caches, and what malloc keeps."""
PEAK = 192 * 1024 * 1024
"""The same in the middle of them: two members with a few connections of at most 32 MiB of unread bytes each."""
LINES = 5
"""Lines of log for each hostile input, at most: it is told of once that a peer came, spoke nonsense and was refused."""
# A daemon as it is, but for how long it remembers misbehaviour, and how often it lets the same peer come: for an
# hour of attacks would fit into a minute otherwise only with a thousand members.
CHILD = """
from functools import partial
import node.net.wire.host
from node.cli.main import main
node.net.wire.host.Limits = partial(node.net.wire.host.Limits, refusal=0.05, arrivals=1_000.0, knocks=1_000.0)
main()
"""


@dataclass
class Siege:
    """A run whose daemon of person 0 is attacked."""

    run: LivingRun
    inputs: int = 0
    peak: int = 0

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.run.daemons[0].pid)

    @property
    def door(self) -> Door:
        return Door(self.run.ports[0], self.run.world.identity(0).peer)

    def secrets(self) -> list[bytes]:
        return [self.run.world.identity(person).secret for person in BAD]

    def attack(self, batch: Batch, count: int) -> None:
        """Carry out a batch and watch how large the daemon gets; then it must decide a round with the others."""
        trio.run(self._watched, batch, count)
        self.run.check_daemons()
        before = self.run.state().totals.accepted
        self.run.until(lambda state: state.totals.accepted > before)
        assert self.process.num_fds() < 200, "file descriptors leak"

    async def _watched(self, batch: Batch, count: int) -> None:
        async def watch() -> None:
            while True:
                self.peak = max(self.peak, self.process.memory_info().rss)
                await trio.sleep(0.05)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(watch)
            self.inputs += await batch(self.door, Random(count), count)
            tasks.cancel_scope.cancel()
        while not await is_let_in(self.door, self.secrets()[0], origin=250):
            await trio.sleep(0.1)

    def messages(self) -> list[bytes]:
        """What the hostile members could say now: right, and wrong in one thing each."""
        state = self.run.state()
        current = state.open
        assert current is not None
        found: list[bytes] = []
        for person in BAD:
            secret = self.run.world.identity(person).secret
            account = self.run.payees[person]
            body = ProposalBody(
                run=state.run,
                round=current.number,
                base=state.head,
                candidate=digest_of(b"lie"),
                size=8,
                opening=current.opening,
                contributors=(Contributor(account=account, share=Ppm(1_000_000)),),
                proposer=person,
            )
            for change in (
                {},
                {"proposer": 0},
                {"round": current.number + 1},
                {"run": digest_of(b"other")},
                {"size": 2**20},
            ):
                changed = body.model_copy(update=change)
                found.append(canonical(Proposal(body=changed, signature=sign(secret, "proposal", changed))))
            vote = VoteBody(
                run=state.run,
                round=current.number,
                proposal=body.digest(),
                voter=person,
                choice=Choice.APPROVE,
                gain=Ppm(1),
            )
            for change in ({}, {"voter": 0}, {"voter": 999}, {"round": 1}, {"gain": Ppm(-1_000_000)}):
                said = vote.model_copy(update=change)
                found.append(canonical(Vote(body=said, signature=sign(secret, "vote", said))))
        return found

    def digests(self) -> list[bytes]:
        """A blob that there is."""
        head = self.run.state().head
        assert stored_blob(self.run.config(0).parent / "data" / "blobs", head) is not None
        return [unbase64url(head, 32)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moneyed]:
    with moneyed(tmp_path_factory.mktemp("siege")) as world:
        yield world


@pytest.fixture
def siege(world: Moneyed, tmp_path: Path) -> Iterator[Siege]:
    with living(world, tmp_path, 5, {}, round_window=5, inactive_after=1) as run:
        config = run.config(0)
        with run.log_file(0).open("ab") as log:
            command = [sys.executable, "-c", CHILD, "node", "--config", str(config)]
            run.daemons[0] = subprocess.Popen(command, cwd=ROOT, stderr=log, env=ENVIRONMENT)
        run.expected.add(0)
        run.start(1, 2)
        run.until(lambda state: state.totals.accepted >= 1)
        yield Siege(run)


def endure(siege: Siege, each: int) -> None:
    """Everything there is, so many inputs of each kind."""
    before = siege.process.memory_info().rss
    siege.attack(strangers, each)
    siege.attack(outsiders, each // 10)
    siege.attack(multiplexers(siege.secrets()), 2 * each)
    siege.attack(fetchers(siege.secrets(), siege.digests()), each)
    siege.attack(talkers(siege.secrets(), siege.messages()), each)
    assert siege.inputs >= 5 * each
    assert siege.peak < before + PEAK
    assert siege.process.memory_info().rss < before + GROWTH
    events = siege.run.events(0)
    assert len(events) < LINES * siege.inputs + 1_000
    assert not [e for e in events if e["level"] in ("error", "critical") or "exception" in e]
    assert not [e for e in events if "host died" in e["event"]]
    siege.run.stop()


@pytest.mark.timeout(240)
def test_daemons_endure_hundreds_of_hostile_inputs(siege: Siege) -> None:
    endure(siege, 100)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_daemons_endure_ten_thousand_hostile_inputs(siege: Siege) -> None:
    endure(siege, 2_000)
    assert siege.inputs >= 10_000
