"""The demo from beginning to end: network, run, daemons, audit, summary, picture."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from rich.console import Console, RenderableType
from rich.live import Live

from learners.client import open_learner
from ledger.hedera import Hedera, Network, open_hedera
from ledger.mirror import Mirror
from node.blobs import stored_blob
from node.demo.evaluation import Evaluator, LapSuccess, evaluator
from node.demo.layout import DemoError, Layout
from node.demo.plot import draw_rounds
from node.demo.processes import Family, family, free_ports, roundabout
from node.demo.table import head_after, live_view, plain_line, progress_bar
from node.demo.watch import Standing, read_log, watch_balances, watch_logs, watch_topic
from node.founding import Preset, found_run, load_preset, params_of
from node.identity import Identity, create
from node.signals import cancel_on_signal
from protocol.ids import AccountId, Digest, PeerId, Tinybar, TopicId
from protocol.records import Member

FAMILIES = ("gentle-wide", "gentle-narrow", "medium", "tight-wide", "tight-narrow")
"""The families of tracks, one a peer; more peers go through them again with tracks of their own."""
LABELS_PER_TURN = 250
START_BALANCE = Tinybar(100 * 100_000_000)
HELD_OUT_TRACKS = 100
"""Fresh tracks of each family on which initial, final and lone policies are measured."""
CURVE_TRACKS = 20
"""Likewise for the head after each round."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the demo was asked for."""

    peers: int
    rounds: int
    seed: int
    out: Path
    preset: Path


@dataclass(slots=True)
class Demo:
    """A run of the demo while it is under way."""

    options: Options
    layout: Layout
    children: Family
    console: Console
    standing: Standing
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What localnet says of itself."""

    @property
    def families(self) -> list[str]:
        """Each peer's family of tracks."""
        return [FAMILIES[place % len(FAMILIES)] for place in range(self.options.peers)]

    def learner_seed(self, place: int) -> int:
        """The seed of a peer's private tracks and of its training."""
        return 1000 * self.options.seed + place

    def learner_options(self, place: int) -> dict[str, Any]:
        """A peer's learner options."""
        return {
            "family": self.families[place],
            "seed": self.learner_seed(place),
            "labels_per_turn": LABELS_PER_TURN,
        }

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        self.console.print(text, highlight=False, soft_wrap=True)


async def run_demo(options: Options, console: Console) -> bool | None:
    """Run it; whether the audit holds, or None when it was told to stop.

    Raises DemoError, LedgerError, LearnerError, ConfigError.
    """
    holds: bool | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
        holds = await _run(options, console)
        tasks.cancel_scope.cancel()
    return holds


async def _run(options: Options, console: Console) -> bool:
    layout = Layout(options.out)
    preset = load_preset(options.preset)
    with layout.prepared():
        return await _run_in(layout, options, preset, console)


async def _run_in(layout: Layout, options: Options, preset: Preset, console: Console) -> bool:
    async with family(layout) as children:
        demo = Demo(options, layout, children, console, Standing(anyio.current_time()))
        demo.say(f"starting an embedded Hedera network; everything is kept in {options.out}/")
        demo.facts = await children.start_localnet()
        topic = await found(demo, preset)
        for place in range(options.peers):
            await children.start_node(place)
        demo.say(
            f"{options.peers} daemons are starting; the run is on topic {topic}, mirror {demo.facts['mirror_rest']}"
        )
        async with Mirror(demo.facts["mirror_rest"]) as mirror, evaluator(children) as referee:
            await follow_run(demo, topic, mirror, referee)
            await children.stop_nodes()
            demo.standing.scorings.clear()
            for place in range(options.peers):  # once more, now that they are whole
                read_log(layout, place, 0, demo.standing)
            holds = await audit(demo, topic)
            await summarise(demo, referee)
    return holds


async def found(demo: Demo, preset: Preset) -> TopicId:
    """Make keys, accounts, topic and genesis, and write each node's configuration."""
    options, layout = demo.options, demo.layout
    identities = []
    for place in range(options.peers):
        layout.node(place).mkdir(parents=True)
        identities.append(create(layout.node(place) / "identity.pem"))
    operator, key = AccountId(demo.facts["operator_account"]), demo.facts["operator_key"]
    async with open_hedera(network_of(demo.facts), operator, key) as hedera:
        accounts = [await open_account(hedera, identity, n) for n, identity in enumerate(identities)]
        roster = [Member(peer=i.peer, account=a) for i, a in zip(identities, accounts, strict=True)]
        runtime = layout.out / "run"
        async with open_learner(
            preset.learner, demo.learner_options(0), runtime / "founder", runtime
        ) as learner:
            params = await params_of(preset, learner, runtime, {"max_rounds": options.rounds})
        topic, run = await found_run(hedera, params, roster, "roundabout demo")
    ports = free_ports(options.peers)
    addresses = {i.peer: f"/ip4/127.0.0.1/tcp/{port}" for i, port in zip(identities, ports, strict=True)}
    for place, member in enumerate(roster):
        (layout.node(place) / "node.toml").write_text(node_toml(demo, place, member, topic, addresses))
    demo.say(f"run {run} of {options.rounds} rounds was founded by {options.peers} members")
    return topic


async def open_account(hedera: Hedera, identity: Identity, place: int) -> AccountId:
    """An account with the member's own key and some hbar to pay its messages with."""
    return await hedera.create_account(identity.public_key, START_BALANCE, f"roundabout member {place}")


def network_of(facts: Mapping[str, Any]) -> Network:
    """The embedded network as the ledger client knows it."""
    return Network(
        name="localnet",
        mirror_rest=facts["mirror_rest"],
        mirror_grpc=facts["mirror_grpc"],
        nodes=facts["nodes"],
    )


def node_toml(demo: Demo, place: int, member: Member, topic: TopicId, addresses: Mapping[PeerId, str]) -> str:
    """A node's configuration file; JSON strings and numbers are TOML's, too."""
    peers = "\n".join(f"{peer} = {json.dumps(a)}" for peer, a in addresses.items() if peer != member.peer)
    nodes = "\n".join(
        f"{json.dumps(account)} = {json.dumps(a)}" for account, a in demo.facts["nodes"].items()
    )
    learner = "\n".join(f"{key} = {json.dumps(value)}" for key, value in demo.learner_options(place).items())
    return f"""data = "data"

[identity]
file = "identity.pem"

[network]
listen = "{addresses[member.peer]}"

[network.peers]
{peers}

[ledger]
network = "localnet"
topic = "{topic}"
account = "{member.account}"
mirror = "{demo.facts["mirror_rest"]}"
mirror_grpc = "{demo.facts["mirror_grpc"]}"

[ledger.nodes]
{nodes}

[learner]
name = "driving"

[learner.options]
{learner}

[log]
format = "json"
"""


# ---- while it runs ----


async def follow_run(demo: Demo, topic: TopicId, mirror: Mirror, referee: Evaluator) -> None:
    """Watch until the last round has closed; show what happens as it does."""
    options, standing = demo.options, demo.standing
    # One entry a head: the initial one and one a round.
    send, receive = anyio.create_memory_object_stream[int](options.rounds + 1)
    send.send_nowait(-1)
    async with anyio.create_task_group() as watchers:
        watchers.start_soon(watch_logs, demo.layout, options.peers, standing)
        watchers.start_soon(watch_balances, mirror, standing)
        watchers.start_soon(watch_children, demo)
        with shown(demo) as show:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(measure_heads, demo, referee, receive, show)
                async with send:
                    await watch_topic(
                        mirror, topic, standing, lambda: send.send_nowait(len(standing.rounds) - 1)
                    )
        watchers.cancel_scope.cancel()


@contextmanager
def shown(demo: Demo) -> Iterator[Callable[[int], None]]:
    """Show rounds as they come: a live table in a terminal, else a line each; yields what to call with an index."""
    console, standing = demo.console, demo.standing
    if not console.is_terminal:
        yield lambda index: console.print(
            plain_line(standing, index, demo.families), highlight=False, soft_wrap=True
        )
        return
    progress = progress_bar(console, demo.options.rounds)

    def view() -> RenderableType:
        progress.update(progress.task_ids[0], completed=len(standing.rounds))
        return live_view(standing, demo.families, progress)

    with Live(get_renderable=view, console=console, refresh_per_second=4):
        yield lambda index: None


async def measure_heads(
    demo: Demo, referee: Evaluator, indices: MemoryObjectReceiveStream[int], show: Callable[[int], None]
) -> None:
    """Measure the head after each round, as soon as there is one, and show the round."""
    standing = demo.standing
    async for index in indices:
        if index < 0:
            continue
        head = head_after(standing, index)
        for digest in (initial_of(standing), head):
            if digest not in standing.lap_success:
                standing.lap_success[digest] = await referee.lap_success(blob_of(demo, digest), CURVE_TRACKS)
        show(index)


async def watch_children(demo: Demo) -> None:
    """Say which daemons have died. Raises DemoError when the run cannot go on."""
    known: set[int] = set()
    children = demo.children
    while True:
        if children.localnet is None or children.localnet.returncode is not None:
            raise DemoError(f"the embedded network died: {children.last_line('localnet')}")
        dead = set(children.dead_nodes())
        for place in sorted(dead - known):
            demo.say(f"the daemon of member {place} has ended: {children.last_line(f'node-{place}')}")
        if len(dead) == len(children.nodes):
            raise DemoError(f"all daemons have ended; see {demo.layout.out / 'logs'}")
        known = dead
        await anyio.sleep(0.5)


# ---- afterwards ----


async def audit(demo: Demo, topic: TopicId) -> bool:
    """Run the auditor on the topic, as anybody could; whether everything holds."""
    out = demo.layout.out
    where = ["--topic", topic, "--mirror", demo.facts["mirror_rest"]]
    command = roundabout("audit", *where, "--save", str(out / "topic.json"), "--json")
    done = await anyio.run_process(command, check=False)
    if done.returncode not in (0, 1):
        raise DemoError(f"the audit could not be run: {done.stderr.decode(errors='replace').strip()}")
    (out / "audit.json").write_bytes(done.stdout)
    found: Mapping[str, Any] = json.loads(done.stdout)
    demo.say(
        f"audit of topic {topic}: {'ok' if found['ok'] else 'VIOLATIONS'}; {found['rounds']} rounds, "
        f"{found['accepted']} accepted, {found['rejected']} rejected, {found['neutral']} neutral, "
        f"{found['closed']} closed, {found['passed']} passed"
    )
    for violation in found["violations"]:
        demo.say(f"  message {violation['sequence']}: {violation['reason']}")
    for place, member in enumerate(found["roster"]):
        earned = found["credits"].get(member["account"], 0) / 1e8
        demo.say(
            f"  member {place} ({demo.families[place]}), account {member['account']}, earned {earned:.2f} hbar"
        )
    return done.returncode == 0


async def summarise(demo: Demo, referee: Evaluator) -> None:
    """Measure initial, final and lone policies on fresh tracks, and write summary and picture."""
    standing, out = demo.standing, demo.layout.out
    assert standing.state is not None, "the run has been watched to its end"
    initial = await referee.lap_success(blob_of(demo, initial_of(standing)), HELD_OUT_TRACKS)
    final = await referee.lap_success(blob_of(demo, standing.state.head), HELD_OUT_TRACKS)
    lone = await measure_lone_peers(demo, referee)
    best = max(lone, key=lambda place: mean(lone[place]))
    seconds = anyio.current_time() - standing.started
    summary = {
        "peers": demo.options.peers,
        "rounds": len(standing.rounds),
        "seed": demo.options.seed,
        "labels": standing.total_labels,
        "seconds": round(seconds, 1),
        "lap_success": {"initial": initial, "final": final, "alone": lone[best]},
        "alone_each": [{"member": p, "family": demo.families[p], "lap_success": lone[p]} for p in lone],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    await anyio.to_thread.run_sync(draw_rounds, standing, demo.families, out / "rounds.png")
    demo.say(f"lap success on {HELD_OUT_TRACKS} held-out tracks of each family:")
    for name, found in (("initial head", initial), ("best lone peer", lone[best]), ("final head", final)):
        cells = "  ".join(f"{family} {value:.2f}" for family, value in found.items())
        demo.say(f"  {name:<15} mean {mean(found):.3f}   {cells}")
    demo.say(
        f"{standing.total_labels} labels, {seconds:.0f} s; see {out / 'rounds.png'} and {out / 'summary.json'}"
    )


async def measure_lone_peers(demo: Demo, referee: Evaluator) -> dict[int, LapSuccess]:
    """What each of the first peers reaches alone with its own share of the labels."""
    turns = math.ceil(demo.options.rounds / demo.options.peers)
    found = {}
    for place in range(min(demo.options.peers, len(FAMILIES))):
        found[place] = await referee.alone(demo.learner_options(place), turns, HELD_OUT_TRACKS)
    return found


def mean(found: LapSuccess) -> float:
    """Mean over the families."""
    return sum(found.values()) / len(found)


def initial_of(standing: Standing) -> Digest:
    """The initial head."""
    assert standing.state is not None, "asked only once a round has closed"
    return standing.state.params.initial


def blob_of(demo: Demo, digest: Digest) -> Path:
    """The file of a blob, from whichever node has it. Raises DemoError."""
    for place in range(demo.options.peers):
        path = stored_blob(demo.layout.node(place) / "data" / "blobs", digest)
        if path is not None:
            return path
    raise DemoError(f"no node has the blob {digest}; see {demo.layout.out / 'logs'}")
