"""What a node keeps of the blobs it has seen."""

from dataclasses import replace
from pathlib import Path

from node.keeping import HEADS, kept, with_head
from protocol.fields import canonical
from protocol.ids import Round, digest_of
from protocol.view import Ahead, Trained, View
from tests.node.nodes import INITIAL, running, world_of
from tests.node.world import TOPIC


def test_before_there_is_a_run_nothing_is_known_to_be_needed() -> None:
    assert kept(View(peer="p", topic=TOPIC), ()) == frozenset()  # type: ignore[arg-type]


async def test_old_candidates_go_and_the_last_heads_stay(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=9, round_window=20) as world:
        nodes = [world.node(place) for place in range(3)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
            verdicts = world.with_effect("verdict")
            heads = [INITIAL, *(r.proposal.candidate for r in verdicts if r.outcome == "accepted")]
            needed = {INITIAL, *heads[-1 - HEADS :]}
            await world.until(lambda: len(list((tmp_path / "0" / "blobs").iterdir())) <= len(needed) + 1)
        assert len(heads) > HEADS + 2
        blobs = nodes[0].driver.means.blobs
        assert all(blobs.path_of(digest) for digest in needed)
        assert blobs.path_of(heads[1]) is None


async def test_what_was_made_or_bet_on_ahead_is_kept(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3) as world:
        await world.topic.submit(canonical(world.genesis))
        view = View(peer=world.identities[0].peer, topic=TOPIC, state=world.opened())
        assert kept(view, ()) == {INITIAL}
        base, made = digest_of(b"base"), digest_of(b"made")
        view = replace(view, ahead=Ahead(Round(2), base))
        assert kept(view, ()) == {INITIAL, base}
        assert view.ahead is not None
        view = replace(view, ahead=replace(view.ahead, trained=Trained(Round(2), base, made, 1)))
        assert kept(view, ()) == {INITIAL, base, made}
        arriving = digest_of(b"arriving")
        assert arriving in kept(replace(view, fetching=frozenset({arriving})), ())


async def test_only_so_many_heads_are_remembered(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3) as world:
        await world.topic.submit(canonical(world.genesis))
        view, heads = View(peer=world.identities[0].peer, topic=TOPIC, state=world.opened()), ()
        digests = [digest_of(bytes([n])) for n in range(10)]
        for digest in digests:
            assert view.state is not None
            view = replace(view, state=replace(view.state, head=digest))
            heads = with_head(with_head(heads, view), view)
        assert heads == tuple(digests[-1 - HEADS :])
