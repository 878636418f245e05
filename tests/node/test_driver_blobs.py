"""Whole nodes whose weights are several pieces large."""

import struct
from dataclasses import dataclass
from pathlib import Path

from learners.learner import Comparison, Training
from node.pieces import pieces_of
from protocol.fields import canonical
from protocol.ids import Ppm, Round, digest_of
from protocol.messages import PIECE_BYTES
from protocol.records import Genesis
from protocol.state import RunState
from tests.node.nodes import running, world_of
from tests.node.world import StubLearner

PADDING = bytes(2 * PIECE_BYTES)


@dataclass
class LargeLearner(StubLearner):
    """The number that is learnt comes with two pieces of nothing."""

    async def initial(self, out: Path) -> None:
        out.write_bytes(struct.pack("<d", 0.0) + PADDING)

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        self.proposals.append(round)
        out.write_bytes(struct.pack("<d", value(head) + 1.0) + PADDING)
        return Training(labels=1, labels_total=len(self.proposals), loss=0.0)

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        gain = Ppm(int(100_000 * (value(candidate) - value(head))))
        return Comparison(head=Ppm(0), candidate=gain, gain=gain, error=Ppm(0), samples=16)

    async def adopt(self, head: Path, round: Round) -> None:
        self.adopted.append(value(head))


def value(weights: Path) -> float:
    data = weights.read_bytes()
    assert data[8:] == PADDING
    return float(struct.unpack("<d", data[:8])[0])


async def test_large_weights_are_proposed_fetched_voted_on_and_handed_to_who_comes_late(
    tmp_path: Path,
) -> None:
    async with world_of(tmp_path, 4, max_rounds=4, round_window=20) as world:
        params = world.genesis.params.model_copy(
            update={"initial": digest_of(struct.pack("<d", 0.0) + PADDING)}
        )
        world.genesis = Genesis(
            topic=world.genesis.topic,
            params=params,
            roster=world.genesis.roster,
            treasury=world.genesis.treasury,
        )
        await world.topic.submit(canonical(world.genesis))
        nodes = [world.node(place, LargeLearner()) for place in range(3)]
        async with running(*nodes):
            await world.until(lambda: all(node.driver.view.state is not None for node in nodes))
            await world.until(lambda: nodes[0].state.totals.accepted >= 2)
            late = world.node(3, LargeLearner())
            async with running(late):
                await world.until(lambda: bool(late.learner.adopted))
                state: RunState = late.state
                path = late.driver.means.blobs.path_of(state.head)
                assert path is not None
                assert pieces_of(path).name == state.head_pieces is not None
    assert late.learner.adopted[-1] >= 2.0
