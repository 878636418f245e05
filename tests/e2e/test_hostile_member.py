"""A real daemon among members that lie: it votes as the protocol says, names each cause, and goes on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
import trio

from ledger.follow import follow
from ledger.hedera import open_hedera
from ledger.mirror import Mirror
from node.blobs import Whole, stored_blob
from node.identity import Identity
from node.net.transport import MAX_FRAME, Connected, Disconnected, Frame
from node.net.wire.host import Wire, open_wire
from node.pieces import pieces_of
from protocol.errors import ProtocolError
from protocol.fields import canonical
from protocol.fold import read
from protocol.ids import SECOND, Digest, Ppm, digest_of
from protocol.messages import (
    Choice,
    Contributor,
    Message,
    Proposal,
    ProposalBody,
    Vote,
    VoteBody,
    parse_message,
)
from protocol.records import PassBody, PassRecord, Stamp
from protocol.signing import sign
from protocol.state import ClosedRound, OpenRound, RunState
from tests.e2e.conftest import ROOT
from tests.e2e.founded import WINDOW, Founded, free_port

Said = TypeVar("Said", Proposal, Vote)

DAEMON, FRIEND = 0, 4
# What the others do, each in its turn and once: their proposal's weights, then a frame.
EXPECTED = {1: Choice.UNAVAILABLE, 2: Choice.REJECT, 3: Choice.REJECT}


@dataclass
class Member:
    """A member that the test plays: its wire, what it serves, and what it hears."""

    identity: Identity
    shelf: dict[Digest, Path] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)
    connected: bool = False
    wire: Wire | None = None

    async def held(self, digest: Digest) -> Whole | None:
        file = self.shelf.get(digest)
        return None if file is None else Whole(file, pieces_of(file), (0, 0))

    async def grown(self) -> None:
        await anyio.sleep_forever()

    async def listen(self) -> None:
        assert self.wire is not None
        async for item in self.wire.inbound():
            match item:
                case Connected() | Disconnected():
                    self.connected = isinstance(item, Connected)
                case Frame(_, body):
                    self.heard.append(parse_message(body))


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not holds():
            await anyio.sleep(0.02)


@contextmanager
def daemon(config: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "node", "--config", str(config)], cwd=ROOT, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Play:
    """The hostile members' side of one run."""

    def __init__(self, world: Founded, home: Path, address: str) -> None:
        self.world = world
        self.home = home
        self.address = address
        self.daemon = world.identity(DAEMON).peer
        self.members = {place: Member(world.identity(place)) for place in (1, 2, 3, FRIEND)}
        self.state: RunState | None = None
        self.closed: list[ClosedRound] = []
        self.votes: dict[int, Choice] = {}
        """The daemon's vote on the proposal of each liar."""
        self.cut_off: list[int] = []

    async def open(self, stack: AsyncExitStack) -> dict[str, str]:
        """Listen as every member; where, by peer id."""
        for member in self.members.values():
            wire = open_wire(
                member.identity.secret, "/ip4/127.0.0.1/tcp/0", {self.daemon: self.address}, member
            )
            member.wire = await stack.enter_async_context(wire)
        return {m.identity.peer: m.wire.address for m in self.members.values() if m.wire}

    async def watch(self) -> None:
        """Fold the topic."""
        async with Mirror(self.world.localnet.network.mirror_rest) as mirror:
            async for message in follow(mirror, self.world.topic):
                if message is None:
                    continue
                stamp = Stamp(message.sequence, message.time, message.running_hash)
                try:
                    self.state = read(self.state, self.world.topic, message.body, stamp)
                except ProtocolError:
                    continue
                last = self.state.last
                if last is not None and (not self.closed or self.closed[-1].number != last.number):
                    self.closed.append(last)

    @property
    def now(self) -> RunState:
        assert self.state is not None
        return self.state

    async def perform(self) -> None:
        """Play round after round until every lie is told and a round has been accepted after that."""
        for member in self.members.values():
            assert member.wire is not None
            member.wire.admit(frozenset({self.daemon}))
        await until(lambda: all(member.connected for member in self.members.values()))
        accepted_by = None
        while accepted_by != DAEMON:
            current = self.now.open
            assert current is not None
            for place in [p for p in self.votes if p not in self.cut_off and p != current.proposer]:
                await self.attack(place, current)
            all_told = set(self.cut_off) == set(EXPECTED)
            await self.play_round(current)
            await until(partial(self.has_closed, current))
            last = self.closed[-1]
            accepted_by = last.proposer if all_told and last.ending == "accepted" else None

    async def play_round(self, current: OpenRound) -> None:
        place = current.proposer
        if place == DAEMON:
            proposal = await self.heard(current, Proposal)
            if proposal is not None:
                self.vote(proposal, current, Choice.APPROVE)
        elif current.deadline - time.time_ns() < WINDOW * SECOND * 3 // 4:
            return  # it was open before anybody was there, or the machine was busy: the daemon closes it
        elif place in EXPECTED and place not in self.votes:
            proposal = self.propose(place, current, *self.weights(place))
            vote = await self.heard(current, Vote)
            if vote is not None:
                self.votes[place] = vote.body.choice
                self.vote(proposal, current, Choice.REJECT)
        else:
            await self.pass_turn(place, current)

    def has_closed(self, current: OpenRound) -> bool:
        return bool(self.closed) and self.closed[-1].number >= current.number

    async def heard(self, current: OpenRound, kind: type[Said]) -> Said | None:
        """What the daemon tells everybody in a round; None when the round closes without it."""

        def found() -> list[Said]:
            heard = self.members[FRIEND].heard
            return [m for m in heard if isinstance(m, kind) and m.body.round == current.number]

        await until(lambda: found() or self.has_closed(current))
        return next(iter(found()), None)

    def weights(self, place: int) -> tuple[Digest, int]:
        """Put the weights of a lie on the liar's shelf; the digest and the size that are promised."""
        head = stored_blob(self.home / "data" / "blobs", self.now.head)
        assert head is not None
        data = head.read_bytes()
        if place == 2:
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            name, entry = next((n, e) for n, e in header.items() if len(e["shape"]) == 2)
            shape = json.dumps(entry["shape"], separators=(",", ":")).encode()
            turned = json.dumps(entry["shape"][::-1], separators=(",", ":")).encode()
            assert shape != turned, name
            data = data.replace(shape, turned, 1)
        elif place == 3:
            data = data[:-4] + b"\x00\x00\xc0\x7f"
        file = self.home / f"lie-{place}"
        file.write_bytes(data)
        digest = digest_of(b"something else" if place == 1 else data)
        self.members[place].shelf[digest] = file
        return digest, len(data)

    def propose(self, place: int, current: OpenRound, candidate: Digest, size: int) -> Proposal:
        body = self.proposal(place, current, candidate, size)
        signature = sign(self.members[place].identity.secret, "proposal", body)
        proposal = Proposal(body=body, signature=signature)
        self.send(place, canonical(proposal))
        return proposal

    def proposal(self, place: int, current: OpenRound, candidate: Digest, size: int) -> ProposalBody:
        contributor = Contributor(account=self.world.accounts[place], share=Ppm(1_000_000))
        return ProposalBody(
            run=self.now.run,
            round=current.number,
            base=self.now.head,
            candidate=candidate,
            size=size,
            opening=current.opening,
            contributors=(contributor,),
            proposer=place,
        )

    def send(self, place: int, frame: bytes) -> None:
        wire = self.members[place].wire
        assert wire is not None
        assert wire.send(self.daemon, frame)

    def vote(self, on: Proposal, current: OpenRound, choice: Choice) -> None:
        """Everybody's vote but the daemon's, told by the one that is not cut off."""
        for place in sorted(current.members - {DAEMON, current.proposer}):
            body = VoteBody(
                run=self.now.run,
                round=current.number,
                proposal=on.body.digest(),
                voter=place,
                choice=choice,
                gain=Ppm(0),
            )
            signature = sign(self.members[place].identity.secret, "vote", body)
            self.send(FRIEND, canonical(Vote(body=body, signature=signature)))

    async def pass_turn(self, place: int, current: OpenRound) -> None:
        identity, net = self.members[place].identity, self.world.localnet.network
        body = PassBody(run=self.now.run, round=current.number)
        record = PassRecord(body=body, sig=sign(identity.secret, "pass", body))
        async with open_hedera(net, self.world.accounts[place], identity.secret) as hedera:
            await hedera.submit(self.world.topic, canonical(record))

    async def attack(self, place: int, current: OpenRound) -> None:
        """Send what no member sends, and be cut off for it."""
        member = self.members[place]
        assert member.wire is not None
        if place == 1:
            self.send(place, b'{"kind":"proposal","body":{"run":"\xff')
        elif place == 2:
            await member.wire._links[self.daemon]._stream.write((MAX_FRAME + 1).to_bytes(4, "big"))
        else:
            body = self.proposal(current.proposer, current, digest_of(b"forged"), 1_000)
            forged = Proposal(body=body, signature=sign(member.identity.secret, "proposal", body))
            self.send(place, canonical(forged))
        await until(lambda: not member.connected)
        self.cut_off.append(place)


@pytest.mark.timeout(240)
def test_a_daemon_among_liars_votes_right_and_goes_on(founded: Founded, tmp_path: Path) -> None:
    address = f"/ip4/127.0.0.1/tcp/{free_port()}"
    play = Play(founded, tmp_path, address)
    log = tmp_path / "node.jsonl"

    async def scenario() -> int:
        async with AsyncExitStack() as stack:
            peers = await play.open(stack)
            network: dict[str, Any] = {"network": {"listen": address}, "network__peers": peers}
            config = founded.node_config(tmp_path / "node.toml", DAEMON, **network)
            process = stack.enter_context(daemon(config, log))
            async with anyio.create_task_group() as tasks:
                for member in play.members.values():
                    tasks.start_soon(member.listen)
                tasks.start_soon(play.watch)
                await play.perform()
                tasks.cancel_scope.cancel()
            assert process.poll() is None, "it lives"
            process.send_signal(signal.SIGTERM)
            return await anyio.to_thread.run_sync(process.wait, 20)

    status = trio.run(scenario)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert status == 0, events[-1]
    assert play.votes == EXPECTED
    endings = {closed.proposer: closed.ending for closed in play.closed if closed.proposal is not None}
    assert endings[2] == endings[3] == "rejected"
    assert endings[1] in ("rejected", "closed"), "the blob is waited for until shortly before the deadline"
    check_log(play, events)
    assert not list((tmp_path / "data" / "blobs").glob("*.tmp")), "nothing half fetched is left"


def check_log(play: Play, events: list[dict[str, Any]]) -> None:
    """Each cause is named in one line, and nothing is an error of the daemon's own."""
    assert not [e for e in events if e["level"] in ("error", "critical") or "exception" in e]
    peer_of = {place: member.identity.peer for place, member in play.members.items()}
    told = [
        (peer_of[1], "fetch failed", "sent other bytes than the digest names"),
        (None, "malformed candidate", "the header is not the canonical one"),
        (None, "malformed candidate", "values that are not finite"),
        (peer_of[1], "invalid message", "malformed message"),
        (peer_of[3], "invalid message", "signature"),
    ]
    for peer, event, reason in told:
        assert [
            e
            for e in events
            if e["event"] == event
            and reason in e["reason"]
            and peer in (None, e.get("sender"), e.get("remote"))
        ], (event, reason)
    refused = [e["event"] for e in events if e["event"].startswith("refusing ")]
    assert [e for e in refused if peer_of[2] in e and f"a frame of {MAX_FRAME + 1} bytes" in e]
    assert len(refused) == 3
    assert all("\n" not in str(value) for e in events for value in e.values())
