"""The demo from beginning to end: network, run, daemons, audit, summary, picture."""

import anyio
from rich.console import Console

from ledger.mirror import Mirror
from node.demo.evaluation import evaluator
from node.demo.follow import follow_run
from node.demo.layout import Layout
from node.demo.prepare import found
from node.demo.processes import family
from node.demo.results import audit, summarise
from node.demo.session import Demo, Options
from node.demo.watch import Standing, read_log
from node.founding import Preset, load_preset
from node.signals import cancel_on_signal


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
