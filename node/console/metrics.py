"""Metrics in Prometheus' text format: gauges read off the board at each scrape, and how long the learner takes."""

from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from learners.learner import Comparison, Training
from node.console.board import Board
from node.console.schema import MemberFacts, MoneyFacts, OwnFacts, Status
from node.net.transport import Connected, Disconnected
from node.observer import Contacts
from protocol.ids import Nanoseconds, Round
from protocol.membership import Standing
from protocol.view import Event, View

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MAX_PEERS = 64
"""Peers that have series of their own; of a larger roster, those that are connected come first."""
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
"""Seconds."""


class Metrics:
    """One node's registry: implements Observer, for what is not on the board."""

    def __init__(self, board: Board) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_BoardCollector(board))
        ProcessCollector(registry=self._registry)
        self._training = Histogram(
            "roundabout_training_seconds",
            "Time that our learner took to make a candidate.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._scoring = Histogram(
            "roundabout_scoring_seconds",
            "Time that our learner took to compare a candidate with the head.",
            buckets=BUCKETS,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All metrics as they are now."""
        return generate_latest(self._registry)

    def on_step(self, before: View, after: View, event: Event, now: Nanoseconds) -> None:
        """Nothing: the board has it."""

    def on_network(self, contacts: Contacts) -> None:
        """Nothing: the board has it."""

    def on_peer(self, event: Connected | Disconnected, now: Nanoseconds) -> None:
        """Nothing: the board has it."""

    def on_trained(self, round: Round, training: Training, seconds: float) -> None:
        """Our learner has made a candidate."""
        self._training.observe(seconds)

    def on_scored(self, round: Round, comparison: Comparison, seconds: float) -> None:
        """Our learner has compared a candidate with the head."""
        self._scoring.observe(seconds)


class _BoardCollector(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        status = self._board.status()
        yield from _run_metrics(status, self._board.health().healthy)
        yield from _peer_metrics(status.members)
        yield from _money_metrics(status.money, status.own)
        yield from _own_metrics(status.own)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"roundabout_{name}", text, value=value)


def _counter(name: str, text: str, values: dict[str, float], label: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"roundabout_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _run_metrics(status: Status, healthy: bool) -> Iterator[Metric]:
    node, current = status.node, status.round
    labels = {"version": node.version, "peer": node.peer, "run": node.run or "", "topic": node.topic}
    yield InfoMetricFamily("roundabout_node", "Who we are, and in which run.", value=labels)
    yield _gauge("start_time_seconds", "When the daemon was started.", node.started_ms / 1000)
    yield _gauge("live", "Whether the topic has been read and we take part.", node.state == "live")
    yield _gauge("healthy", "0 when the round in progress is overdue by a whole window.", healthy)
    yield _gauge("topic_sequence", "The last message of the topic that had an effect.", node.sequence)
    yield _gauge("round", "The round in progress; 0 when there is none.", current.number if current else 0)
    if current is not None:
        yield _gauge(
            "round_deadline_seconds", "When the round in progress closes.", current.deadline_ms / 1000
        )
        yield _gauge("round_votes", "Votes known of the round in progress.", len(current.votes))
    yield _counter("rounds", "Rounds that are over, by how they ended.", status.totals.model_dump(), "ending")
    heads = _gauge("head_round", "The round that accepted the present head.", 0)
    if status.heads:
        heads = _gauge(
            "head_round", "The round that accepted the present head.", float(status.heads[-1].round)
        )
    yield heads


def _peer_metrics(members: tuple[MemberFacts, ...]) -> Iterator[Metric]:
    others = [member for member in members if not member.is_self]
    standings = dict.fromkeys(get_args(Standing), 0)
    for member in members:
        standings[member.standing] += 1
    roster = GaugeMetricFamily("roundabout_members", "Members by standing.", labels=["standing"])
    for standing, number in standings.items():
        roster.add_metric([standing], number)
    yield roster
    yield _gauge("peers_connected", "Peers that we can talk to.", sum(each.connected for each in others))
    up = GaugeMetricFamily("roundabout_peer_up", "Whether a peer is connected.", labels=["peer"])
    latency = GaugeMetricFamily(
        "roundabout_peer_latency_seconds", "Last round trip to a peer.", labels=["peer"]
    )
    received = CounterMetricFamily(
        "roundabout_peer_received_bytes", "Bytes from a peer since the start.", labels=["peer"]
    )
    sent = CounterMetricFamily(
        "roundabout_peer_sent_bytes", "Bytes to a peer since the start.", labels=["peer"]
    )
    for member in sorted(others, key=lambda each: not each.connected)[:MAX_PEERS]:
        up.add_metric([member.peer], member.connected)
        if member.latency is not None:
            latency.add_metric([member.peer], member.latency)
        received.add_metric([member.peer], member.received)
        sent.add_metric([member.peer], member.sent)
    yield from (up, latency, received, sent)


def _money_metrics(money: MoneyFacts, own: OwnFacts) -> Iterator[Metric]:
    yield _gauge("pool_tinybar", "What the run pays rewards from.", money.pool)
    yield _gauge("at_stake_tinybar", "Stakes of all members.", money.at_stake)
    yield _gauge("stake_tinybar", "What we have at stake.", own.stake)
    yield _gauge("earned_tinybar", "What our payout account has earned.", own.earned)
    yield _gauge("owed_tinybar", "What our payout account has still to get.", own.owed)
    yield _gauge("paid_tinybar", "What our payout account was paid.", own.paid)


def _own_metrics(own: OwnFacts) -> Iterator[Metric]:
    rejected = own.proposals - own.accepted
    yield _counter(
        "proposals",
        "Our proposals, by what became of them.",
        {"accepted": own.accepted, "other": rejected},
        "outcome",
    )
    cast = CounterMetricFamily("roundabout_votes", "Our votes on the topic.", value=own.votes)
    yield cast
    if own.labels is not None:
        yield CounterMetricFamily("roundabout_labels", "Labels our learner has collected.", value=own.labels)
