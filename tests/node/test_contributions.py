"""Whole nodes that contribute to each other's turns: all of them, some, and through restarts."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from learners.learner import Training
from node.admission import RunError
from protocol.fields import canonical
from protocol.ids import Round
from protocol.records import VerdictRecord
from tests.node.nodes import Node, World, only, running, world_of
from tests.node.world import StubLearner

STEPS = (1.0, 2.0, 4.0)
"""What each of three learners adds to the head: their sums say who is in a candidate."""


@dataclass
class Waiting(StubLearner):
    """Does not train before it is told to."""

    go: anyio.Event = field(default_factory=anyio.Event)

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        await self.go.wait()
        return await super().propose(head, round, out, deadline)


def trio_of(world: World) -> list[Node]:
    return [world.node(place, StubLearner(step=step)) for place, step in enumerate(STEPS)]


def named(world: World) -> list[set[str]]:
    """The accounts that each verdict's proposal names."""
    records = [record for record in world.with_effect("verdict") if isinstance(record, VerdictRecord)]
    return [{contributor[0] for contributor in record.proposal.contributors} for record in records]


def given(node: Node) -> object:
    return node.driver.view.work.gathering.given


async def test_everybody_s_work_is_in_every_candidate_and_is_paid(tmp_path: Path) -> None:
    async with world_of(
        tmp_path,
        3,
        max_rounds=4,
        round_window=40,
        contribution_window=20,
        reward_proposal=3000,
        reward_per_ppm=1,
    ) as world:
        nodes = trio_of(world)
        await world.fund(10**9)
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
            await world.until(lambda: all(n.learner.adopted[-1:] == [28.0] for n in nodes))
        everybody = {world.account(place) for place in range(3)}
        assert named(world) == [everybody] * 4
        assert nodes[0].state.totals.accepted == 4
        earned = dict(nodes[0].state.money.earned)
        assert all(earned[name] > 3000 for name in everybody), "not only votes were paid"
        assert sum(len(node.learner.merged) for node in nodes) == 4


async def test_a_round_goes_on_without_who_is_silent(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=6, contribution_window=3) as world:
        opened = (await world.found()).open
        away = next(place for place in range(3) if place != opened.proposer)
        nodes = [node for place, node in enumerate(trio_of(world)) if place != away]
        present = {world.account(place) for place in range(3) if place != away}
        async with running(*nodes):
            await world.until(lambda: present in named(world))
        assert all(each <= present for each in named(world))


async def test_what_is_withheld_is_left_out(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=40, contribution_window=20) as world:
        opened = (await world.found()).open
        nodes = trio_of(world)
        liar = nodes[next(place for place in range(3) if place != opened.proposer)]
        blobs = liar.driver.means.blobs
        held = blobs.held

        async def withheld(digest):
            update = given(liar)
            return None if update is not None and update.body.update == digest else await held(digest)

        blobs.held = withheld
        async with running(*nodes):
            await world.until(lambda: nodes[0].driver.view.state and nodes[0].state.totals.accepted >= 1)
        place = nodes.index(liar)
        assert named(world)[0] == {world.account(each) for each in range(3) if each != place}


async def test_a_contributor_that_comes_back_gives_what_it_gave(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=40, contribution_window=20) as world:
        opened = (await world.found()).open
        nodes = trio_of(world)
        place = next(each for each in range(3) if each != opened.proposer)
        async with running(nodes[place]):
            await world.until(lambda: given(nodes[place]) is not None)
        before = given(nodes[place])
        nodes[place] = world.node(place, StubLearner(step=32.0))
        async with running(*nodes):
            await world.until(lambda: nodes[opened.proposer].learner.merged)
            await world.until(lambda: nodes[0].state.totals.accepted >= 1)
        assert before.body.round == 1
        others = {each: STEPS[each] for each in range(3) if each != opened.proposer}
        assert nodes[opened.proposer].learner.merged[0] == (1, [others[each] for each in sorted(others)])


async def test_a_proposer_that_comes_back_is_told_again(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, round_window=40, contribution_window=20) as world:
        opened = (await world.found()).open
        nodes, first = trio_of(world), opened.proposer
        others = [node for place, node in enumerate(nodes) if place != first]
        async with running(*others):
            stuck = world.node(first, Waiting(step=STEPS[first]))
            async with running(stuck):
                await world.until(lambda: len(stuck.driver.view.work.gathering.updates) == 2)
            again = world.node(first, StubLearner(step=STEPS[first]))
            async with running(again):
                await world.until(lambda: again.driver.view.state and again.state.totals.accepted >= 1)
        assert named(world)[0] == {world.account(place) for place in range(3)}


async def test_a_learner_that_cannot_merge_does_not_start(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2, contribution_window=10) as world:
        await world.topic.submit(canonical(world.genesis))
        node = world.node(0, StubLearner(merges=False))
        with pytest.raises(BaseExceptionGroup) as caught:
            await node.driver.run()
        assert "cannot merge them; install a version that can" in str(only(caught.value, RunError))
