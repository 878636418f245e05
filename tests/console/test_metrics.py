"""Metrics as Prometheus reads them, and observers that fail."""

from prometheus_client.parser import text_string_to_metric_families

from node.console.metrics import MAX_PEERS, Metrics
from node.console.observers import Observers
from node.net.transport import Connected
from node.observer import Unobserved
from protocol.ids import Nanoseconds
from tests.console.watched import Watched, client_of, comparison, contact, number, peer, played, training
from tests.protocol.world import Run, account


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by name and label values."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples
    }


def test_what_the_board_knows_is_measured() -> None:
    run = played(Run(4, pool=10**9, reward_vote=1_000), "accepted", "rejected", "closed")
    board = Watched(run, 0).board
    metrics = Metrics(board)
    metrics.on_trained(number(1), training(), 2.0)
    metrics.on_scored(number(1), comparison(), 0.02)
    board.on_network(lambda: (contact(1), contact(2, is_connected=False, latency=None)))
    told = read(metrics)
    assert told["roundabout_round",] == 4
    assert told["roundabout_rounds_total", "accepted"] == told["roundabout_rounds_total", "closed"] == 1
    assert told["roundabout_rounds_total", "passed"] == 0
    assert told["roundabout_peers_connected",] == 1
    assert told["roundabout_peer_latency_seconds", peer(1)] == 0.004
    assert ("roundabout_peer_latency_seconds", peer(2)) not in told
    assert told["roundabout_peer_received_bytes_total", peer(1)] == 1000
    assert (
        told["roundabout_earned_tinybar",]
        == run.now.earned_by(account(0))
        == 1_000 * board.status().own.votes
    )
    assert told["roundabout_training_seconds_sum",] == 2.0
    assert told["roundabout_scoring_seconds_count",] == 1
    assert told["roundabout_healthy",] == told["roundabout_live",] == 1


def test_names_and_units_follow_the_conventions() -> None:
    metrics = Metrics(Watched(Run(3), 0).board)
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.name.startswith(("roundabout_", "process_")), family.name
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_series_are_bounded_and_those_connected_come_first() -> None:
    size = 39  # as many keys as the world has, less the reader's
    run = Run(size)
    watched = Watched(run, 0)
    for place in range(20, size):
        watched.connect(place)
    told = read(Metrics(watched.board))
    assert len([name for name in told if name[0] == "roundabout_peer_up"]) == size - 1 <= MAX_PEERS
    import node.console.metrics as module

    members = watched.board.status().members
    many = tuple(members[place % size].model_copy(update={"place": place}) for place in range(1, 500))
    (up,) = [family for family in module._peer_metrics(many) if family.name == "roundabout_peer_up"]
    assert len(up.samples) == MAX_PEERS
    assert all(sample.value == 1 for sample in up.samples)


async def test_they_are_scraped_as_text() -> None:
    async with client_of(Watched(Run(3), 0).board) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\nroundabout_round 1.0\n" in answer.content


def test_an_observer_that_fails_is_told_nothing_more_and_the_others_are() -> None:
    class Broken(Unobserved):
        calls = 0

        def on_peer(self, event, now) -> None:
            self.calls += 1
            raise RuntimeError("a bug")

    class Fine(Unobserved):
        calls = 0

        def on_peer(self, event, now) -> None:
            self.calls += 1

    broken, fine = Broken(), Fine()
    observers = Observers([broken, fine])
    for _ in range(3):
        observers.on_peer(Connected(peer(1)), Nanoseconds(1))
    assert (broken.calls, fine.calls) == (1, 3)
