"""Members find each other: each knows one other by its configuration, and the rest from the topic."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.ids import PeerId
from tests.e2e.founded import free_port
from tests.e2e.living import LivingRun, living
from tests.e2e.moneyed import Moneyed, moneyed

EVERYBODY = range(5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moneyed]:
    with moneyed(tmp_path_factory.mktemp("reach")) as world:
        yield world


def connected(run: LivingRun, person: int) -> set[PeerId]:
    """With whom a person's daemon is connected, as its log tells."""
    peers: set[PeerId] = set()
    for event in run.events(person):
        if event["event"] == "connected":
            peers.add(event["remote"])
        elif event["event"] in ("disconnected", "taking part"):
            peers -= {event.get("remote")} if event["event"] == "disconnected" else set(peers)
    return peers


def are_all_connected(run: LivingRun) -> bool:
    peers = {run.world.identity(person).peer for person in EVERYBODY}
    return all(connected(run, person) == peers - {run.world.identity(person).peer} for person in EVERYBODY)


def test_all_find_all_by_the_topic_and_find_one_that_moves_again(world: Moneyed, tmp_path: Path) -> None:
    with living(world, tmp_path, 5, {"enabled": False}, round_window=20) as run:
        run.announces = True
        run.known = {0: (), 1: (0,), 2: (1,), 3: (2,), 4: (3,)}
        run.start(*EVERYBODY)
        run.until_true(lambda: are_all_connected(run))
        state = run.until(lambda state: state.totals.accepted >= 1)
        assert [w and w.addresses for w in state.whereabouts] == [
            (f"/ip4/127.0.0.1/tcp/{run.ports[person]}",) for person in EVERYBODY
        ]

        run.expected.discard(2)
        run.daemons[2].terminate()
        assert run.daemons[2].wait(30) == 0
        run.until_true(lambda: all(len(connected(run, person)) == 3 for person in EVERYBODY if person != 2))
        # It knows nobody any more but from the topic, and nobody knows where it is now.
        (run.config(2).parent / "data" / "addresses.db").unlink()
        run.ports[2] = free_port()
        run.known[2] = ()
        run.start(2)
        run.until_true(lambda: are_all_connected(run))
        place = run.until(lambda state: state.whereabouts[2].addresses[0].endswith(str(run.ports[2])))
        assert place.whereabouts[2].addresses == (f"/ip4/127.0.0.1/tcp/{run.ports[2]}",)
        run.stop()
