"""After the demo's run: the audit, the summary and the picture."""

import json
import math
from collections.abc import Mapping
from typing import Any

import anyio

from node.demo.evaluation import Evaluator, LapSuccess
from node.demo.layout import DemoError
from node.demo.plot import draw_rounds
from node.demo.processes import roundabout
from node.demo.session import FAMILIES, HELD_OUT_TRACKS, Demo, blob_of, initial_of
from protocol.ids import TopicId


async def audit(demo: Demo, topic: TopicId) -> bool:
    """Run the auditor on the topic, as anybody could; whether everything holds."""
    out = demo.layout.out
    where = ["--topic", topic, "--mirror", demo.facts["mirror_rest"]]
    command = roundabout(
        "audit",
        *where,
        "--save",
        str(out / "topic.json"),
        "--json",
        "--html",
        str(out / "report.html"),
    )
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
        which = "treasury" if violation["sequence"] is None else f"message {violation['sequence']}"
        demo.say(f"  {which}: {violation['reason']}")
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
    seconds = anyio.current_time() - standing.started
    summary = {
        "peers": demo.options.peers,
        "rounds": len(standing.rounds),
        "seed": demo.options.seed,
        "labels": standing.total_labels,
        "seconds": round(seconds, 1),
        "lap_success": {"initial": initial, "final": final, "alone": over_peers(lone)},
        "alone_each": [{"member": p, "family": demo.families[p], "lap_success": lone[p]} for p in lone],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    await anyio.to_thread.run_sync(draw_rounds, standing, demo.families, out / "rounds.png")
    demo.say(f"lap success on {HELD_OUT_TRACKS} held-out tracks of each family:")
    alone = [(f"{place} alone, {demo.families[place]}", lone[place]) for place in lone]
    rows = (
        ("initial head", initial),
        *alone,
        ("one peer alone, mean", over_peers(lone)),
        ("final head", final),
    )
    for name, found in rows:
        cells = "  ".join(f"{family} {value:.2f}" for family, value in found.items())
        demo.say(f"  {name:<22} mean {mean(found):.3f}   {cells}")
    demo.say(
        f"{standing.total_labels} labels, {seconds:.0f} s; see {out / 'rounds.png'} and {out / 'summary.json'}"
    )


async def measure_lone_peers(demo: Demo, referee: Evaluator) -> dict[int, LapSuccess]:
    """What each of the first peers reaches alone with its own share of the labels."""
    turns = math.ceil(demo.options.rounds / demo.options.peers)
    found = {}
    for place in range(min(demo.options.peers, len(FAMILIES))):
        found[place] = await referee.alone(demo.lone_options(place), turns, HELD_OUT_TRACKS)
    return found


def over_peers(lone: Mapping[int, LapSuccess]) -> LapSuccess:
    """What one peer reaches alone, in the mean over who it is: by family."""
    names = next(iter(lone.values()))
    return {name: round(sum(found[name] for found in lone.values()) / len(lone), 6) for name in names}


def mean(found: LapSuccess) -> float:
    """Mean over the families."""
    return sum(found.values()) / len(found)
