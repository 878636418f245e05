"""A run on handwritten digits by real daemons on this machine, and what its rounds were made of."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from bench.memory import Memory, children_of, cpu_of, memory_of
from bench.timed_digits import TIMES
from learners.client import open_learner
from ledger.follow import follow
from ledger.hedera import open_hedera
from ledger.mirror import Mirror
from node.demo.layout import DemoError, Layout
from node.demo.prepare import network_of
from node.demo.processes import Family, family, free_ports, read_events
from node.founding import found_run, load_preset, params_of
from node.identity import create
from node.presets import preset_file
from protocol.errors import Ignore
from protocol.fold import read
from protocol.ids import AccountId, Digest, PeerId, Tinybar, TopicId
from protocol.records import Member
from protocol.state import ClosedRound

LEARNER = "bench.timed_digits:TimedDigits"
WARM_UP = 5
"""Rounds at the beginning that are not counted: connections are made, code is loaded."""

_FUNDS = Tinybar(1000 * 100_000_000)
_SPEND_LIMIT = 100_000_000_000
_MS = 1e-6
Span = tuple[int, int]
"""Begin and end, nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Round:
    """When things happened in one round: nanoseconds since the epoch."""

    number: int
    ending: str
    opened: int
    """Consensus time of the record that opened it."""
    closed: int
    """And of the one that closed it."""
    train: Span
    """Begin and end of training, in the learner."""
    scores: tuple[Span, ...]
    """Of each voter's comparison, in the learner, that had ended when the round closed."""
    seen: int
    """When the last daemon had folded the closing record in."""

    def parts(self) -> dict[str, float]:
        """The round, whole and cut at what all wait for, in ms."""
        first, last = min(b for b, _ in self.scores), max(e for _, e in self.scores)
        # A candidate may have been made ahead, while the round before was still open.
        train = max(0, self.train[1] - max(self.train[0], self.opened))
        longest = max(e - b for b, e in self.scores)
        spans = {
            "round": self.closed - self.opened,
            "train": train,
            "score": longest,
            "beyond": self.closed - self.opened - train - longest,
            "whole_training": self.train[1] - self.train[0],
            "opened_to_first_scoring": first - self.opened,
            "first_scoring_to_last_scored": last - first,
            "last_scored_to_closed": self.closed - last,
            "closed_to_seen_by_all": self.seen - self.closed,
        }
        return {name: span * _MS for name, span in spans.items()}


@dataclass(frozen=True, slots=True)
class Use:
    """What one process used: CPU seconds after the warm-up, memory at the end."""

    cpu: float
    memory: Memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, seen from outside."""

    layout: Layout
    rounds: tuple[Round, ...]
    heads: Mapping[int, Digest]
    """The head after each round; 0 is before the first."""
    daemons: tuple[Use, ...]
    learners: tuple[Use, ...]
    """Each daemon's."""
    localnet: Use

    @property
    def counted(self) -> list[Round]:
        """Those after the warm-up in which all was done in time."""
        return [r for r in self.rounds if r.number > WARM_UP and r.scores and r.train[1]]

    def medians(self) -> dict[str, float]:
        """The median of each part over the counted rounds, ms."""
        parts = [r.parts() for r in self.counted]
        return {name: round(median(p[name] for p in parts), 2) for name in parts[0]}


@dataclass(slots=True)
class _Watched:
    """The topic, folded from outside."""

    opened: int = 0
    closed: list[ClosedRound] = field(default_factory=list)
    heads: dict[int, Digest] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)
    """CPU seconds of each process at the end of the warm-up."""


async def run_digits(peers: int, rounds: int, seed: int, out: Path) -> Outcome:
    """Found a run, start its daemons, wait until its last round has closed, and look at what they left."""
    layout = Layout(out)
    with layout.prepared():
        async with family(layout) as children:
            facts = await children.start_localnet()
            topic = await _found(layout, facts, peers, rounds, seed)
            for place in range(peers):
                await children.start_node(place)
            watched = _Watched()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch_children, children)
                await _watch(facts["mirror_rest"], topic, children, watched)
                tasks.cancel_scope.cancel()
            pids = _pids(children)
            uses = [Use(cpu_of(pid) - watched.cpu[pid], memory_of(pid)) for pid in pids]
            await children.stop_nodes()
        return Outcome(
            layout,
            tuple(_rounds(layout, watched, peers)),
            watched.heads,
            daemons=tuple(uses[1::2]),
            learners=tuple(uses[2::2]),
            localnet=uses[0],
        )


def _pids(children: Family) -> list[int]:
    """Localnet, and then each daemon with its learner."""
    assert children.localnet is not None, "it was started first"
    return [children.localnet.pid, *(pid for d in children.nodes for pid in (d.pid, children_of(d.pid)[0]))]


async def _found(layout: Layout, facts: Mapping[str, Any], peers: int, rounds: int, seed: int) -> TopicId:
    """Keys, accounts, genesis without a treasury, and each node's configuration."""
    preset = load_preset(preset_file("digits"))
    runtime = layout.out / "run"
    identities = []
    for place in range(peers):
        layout.node(place).mkdir(parents=True)
        identities.append(create(layout.node(place) / "identity.pem"))
    operator = AccountId(facts["operator_account"])
    async with open_hedera(network_of(facts), operator, facts["operator_key"]) as hedera:
        roster = [
            Member(peer=i.peer, account=await hedera.create_account(i.public_key, _FUNDS, f"member {n}"))
            for n, i in enumerate(identities)
        ]
        async with open_learner(LEARNER, {}, runtime / "founder", runtime) as learner:
            params = await params_of(preset, learner, runtime, {"max_rounds": rounds})
        founded = await found_run(hedera, params, roster, "roundabout bench")
    ports = free_ports(peers)
    addresses = {i.peer: f"/ip4/127.0.0.1/tcp/{port}" for i, port in zip(identities, ports, strict=True)}
    for place, member in enumerate(roster):
        options = {"learner": place, "of": peers, "seed": seed}
        text = _toml(facts, founded.topic, member, addresses, options)
        (layout.node(place) / "node.toml").write_text(text)
    return founded.topic


def _toml(
    facts: Mapping[str, Any],
    topic: TopicId,
    member: Member,
    addresses: Mapping[PeerId, str],
    options: Mapping[str, int],
) -> str:
    """A node's configuration file; JSON strings and numbers are TOML's, too."""
    tables: dict[str, Mapping[str, object]] = {
        "identity": {"file": "identity.pem"},
        "network": {"listen": addresses[member.peer]},
        "network.peers": {peer: a for peer, a in addresses.items() if peer != member.peer},
        "ledger": {
            "network": "localnet",
            "topic": topic,
            "account": member.account,
            "mirror": facts["mirror_rest"],
            "mirror_grpc": facts["mirror_grpc"],
            "spend_limit": _SPEND_LIMIT,
        },
        "ledger.nodes": facts["nodes"],
        "learner": {"name": LEARNER},
        "learner.options": options,
        "log": {"format": "json"},
    }
    lines = ['data = "data"']
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


async def _watch(url: str, topic: TopicId, children: Family, watched: _Watched) -> None:
    """Fold the topic until the run has ended."""
    state = None
    async with Mirror(url) as mirror:
        async for message in follow(mirror, topic):
            if message is None:
                continue
            before = state
            try:
                state = read(state, topic, message.body, message.stamp, ())
            except Ignore:
                continue
            if before is None:
                watched.opened, watched.heads[0] = message.time, state.head
            if state.last is None or (watched.closed and watched.closed[-1].number == state.last.number):
                continue
            watched.closed.append(state.last)
            watched.heads[state.last.number] = state.head
            if state.last.number == WARM_UP:
                watched.cpu = {pid: cpu_of(pid) for pid in _pids(children)}
            if state.open is None:
                return


async def _watch_children(children: Family) -> None:
    """Raises DemoError when a daemon ends before the run does."""
    while True:
        if dead := children.dead_nodes():
            raise DemoError(f"the daemon of member {dead[0]} has ended: {children.how_ended(dead[0])}")
        await anyio.sleep(0.5)


def _rounds(layout: Layout, watched: _Watched, peers: int) -> Sequence[Round]:
    """The topic's rounds, with what learners and daemons noted about each."""
    times: dict[tuple[int, str], list[Span]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)
    for place in range(peers):
        for line in (layout.node(place) / "data" / "learner" / TIMES).read_text().splitlines():
            what, number, began, ended = json.loads(line)
            times[number, what].append((began, ended))
        events, _ = read_events(layout.log(f"node-{place}"), 0)
        for event in events:
            if event.get("event") == "round closed":
                when = int(datetime.fromisoformat(event["timestamp"]).timestamp() * 1e9)
                seen[event["round"]] = max(seen[event["round"]], when)
    rounds, opened = [], watched.opened
    for last in watched.closed:
        scores = tuple(span for span in times[last.number, "score"] if span[1] <= last.time)
        train = max(times[last.number, "train"], default=(0, 0))
        rounds.append(Round(last.number, last.ending, opened, last.time, train, scores, seen[last.number]))
        opened = last.time
    return rounds
