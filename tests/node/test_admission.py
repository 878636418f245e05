"""Members that come and go: whatever happens, two nodes of the in-memory network talk if both want to."""

from dataclasses import dataclass, field
from itertools import combinations

import anyio
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.net.memory import MemoryTransport, Network
from node.net.transport import Connected, Disconnected, Frame
from protocol.ids import Digest, PeerId

PEERS = [PeerId(name) for name in "ABCD"]


@dataclass(frozen=True)
class Join:
    peer: PeerId


@dataclass(frozen=True)
class Leave:
    peer: PeerId


@dataclass(frozen=True)
class Admit:
    peer: PeerId
    peers: frozenset[PeerId]


@dataclass(frozen=True)
class Say:
    peer: PeerId
    to: PeerId


@dataclass(frozen=True)
class Read:
    peer: PeerId


class EmptyShelf:
    async def held(self, digest: Digest) -> None:
        return None

    async def grown(self) -> None:
        await anyio.sleep_forever()


@dataclass
class Life:
    """One life of a node: what it wants, what it should have heard, and who it believes is there."""

    node: MemoryTransport
    wants: frozenset[PeerId] = frozenset()
    there: set[PeerId] = field(default_factory=set)
    due: list[PeerId] = field(default_factory=list)
    """Senders of frames that it has not read, in order."""

    async def read(self) -> None:
        """Read everything that has arrived, and check that it makes sense in its order."""
        while self.node.inbox._events.statistics().current_buffer_used:
            match await anext(self.node.inbound()):
                case Connected(peer):
                    assert peer not in self.there
                    self.there.add(peer)
                case Disconnected(peer):
                    self.there.remove(peer)
                case Frame(peer, body):
                    assert peer in self.there
                    assert body == peer.encode()
                    assert peer == self.due.pop(0)
        assert not self.due


peers = st.sampled_from(PEERS)
actions = st.one_of(
    st.builds(Join, peers),
    st.builds(Leave, peers),
    st.builds(Admit, peers, st.frozensets(peers)),
    st.builds(Admit, peers, st.just(frozenset(PEERS))),
    st.builds(Say, peers, peers),
    st.builds(Read, peers),
)


@given(st.lists(actions, max_size=60))
def test_members_come_and_go(history: list[object]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await relive(Network(tasks), history)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def relive(network: Network, history: list[object]) -> None:
    """Do what the history says, and compare with what should be after each action."""
    lives: dict[PeerId, Life] = {}

    def should_talk(one: PeerId, other: PeerId) -> bool:
        both = one != other and one in lives and other in lives
        return both and other in lives[one].wants and one in lives[other].wants

    for action in history:
        match action:
            case Join(peer):
                lives[peer] = Life(network.join(peer, EmptyShelf()))
            case Leave(peer):
                network.leave(peer)
                lives.pop(peer, None)
            case Admit(peer, wanted) if peer in lives:
                lives[peer].wants = wanted
                lives[peer].node.admit(wanted)
            case Say(peer, to) if peer in lives:
                is_said = lives[peer].node.send(to, peer.encode())
                assert is_said is should_talk(peer, to)
                if is_said:
                    lives[to].due.append(peer)
        for one, other in combinations(PEERS, 2):
            assert network.is_connected(one, other) is should_talk(one, other)
        for peer, life in lives.items():
            if action == Read(peer):
                await life.read()
    for peer, life in lives.items():
        await life.read()
        assert life.there == {other for other in PEERS if should_talk(peer, other)}
