"""While the demo's run goes on: watch it, measure its heads, and show what happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from rich.console import RenderableType
from rich.live import Live

from ledger.mirror import Mirror
from node.demo.evaluation import Evaluator
from node.demo.layout import DemoError
from node.demo.session import CURVE_TRACKS, Demo, blob_of, initial_of
from node.demo.table import LEGEND, head_after, live_view, payment_line, plain_line, progress_bar
from node.demo.watch import watch_balances, watch_logs, watch_topic
from protocol.ids import TopicId


async def follow_run(demo: Demo, topic: TopicId, mirror: Mirror, referee: Evaluator) -> None:
    """Watch until the last round has closed and everybody is paid; show what happens as it does."""
    options, standing = demo.options, demo.standing
    # One entry a head: the initial one and one a round.
    send, receive = anyio.create_memory_object_stream[int](options.rounds + 1)
    send.send_nowait(-1)
    async with anyio.create_task_group() as watchers:
        watchers.start_soon(watch_logs, demo.layout, options.peers, standing)
        watchers.start_soon(watch_balances, mirror, standing)
        watchers.start_soon(watch_children, demo)
        demo.say(LEGEND)
        with shown(demo) as show:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(measure_heads, demo, referee, receive, show)
                async with send:
                    await watch_topic(
                        mirror,
                        topic,
                        standing,
                        lambda: send.send_nowait(len(standing.rounds) - 1),
                        lambda settlement, fee: demo.say(payment_line(settlement, fee)),
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
            demo.say(f"the daemon of member {place} has ended: {children.how_ended(place)}")
        if len(dead) == len(children.nodes):
            raise DemoError(f"all daemons have ended; see {demo.layout.out / 'logs'}")
        known = dead
        await anyio.sleep(0.5)
