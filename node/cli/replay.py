"""`roundabout replay`: do again what a peer did in a run, and compare it with what the peer signed."""

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click
from rich.console import Console
from rich.progress import Progress

from ledger.ahead import uncollected
from ledger.audit import Audit
from ledger.pages import read_history
from ledger.topic import LedgerError
from node.admission import RunError, check_learner
from node.cli.audit import from_pages, read_mirror
from node.cli.exits import FAILED, one_line
from node.config import Config, ConfigError, load_config
from node.history import FOLDER, HistoryError, Note, read_notes
from node.networks import network_of
from node.provenance import provenance_of
from node.replay import Claim, Fate, Finding, claims_of, copy_of, recompute

CONFIG = "node.toml"
"""The configuration in a directory that is named with --home."""
REMEDY = "keep_history = true under [blobs] keeps them for the rounds to come; they are fetched from nobody"
_LAST = 2**53


def rounds_of(_: click.Context, __: click.Parameter, text: str) -> range:
    """The rounds that `A`, `A-B`, `A-` or `-B` names."""
    first, dash, last = text.partition("-")
    try:
        start = int(first) if first or not last else 1
        stop = int(last) if last else (_LAST if dash else start)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a round nor A-B") from None
    if not 1 <= start <= stop:
        raise click.BadParameter(f"{text!r} names no round; they are counted from 1")
    return range(start, stop + 1)


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it."""

    note: Note
    """Of the newest that was kept."""
    place: int
    findings: tuple[Finding, ...]
    changed: tuple[tuple[int, tuple[str, ...]], ...]
    """From a round on, what was otherwise when it was played than it is now."""
    violations: int
    """Of the topic; `roundabout audit` names them."""

    @property
    def counts(self) -> Counter[Fate]:
        """How many of each fate."""
        return Counter(finding.fate for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether nothing that was done again came out otherwise."""
        return not self.counts[Fate.DIFFERS] and not self.counts[Fate.FAILED]


@click.command("replay")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    required=True,
    metavar="HOME",
    help="The peer's directory, with its node.toml; or that file.",
)
@click.option("--mirror", metavar="URL", help="A mirror node's REST address; by default the configuration's.")
@click.option(
    "--topic",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read a saved history of the topic instead.",
)
@click.option(
    "--rounds", callback=rounds_of, default="1-", metavar="A-B", help="These alone; by default all."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(home: Path, mirror: str | None, topic: Path | None, rounds: range, as_json: bool) -> None:
    """Recompute each vote and each candidate that this peer signed, from its own private data.

    Writes nothing into HOME, and needs no key. Exits 0 when all that could be recomputed is as it was signed, 1
    when something is not, 2 when nothing could be recomputed.
    """
    if mirror is not None and topic is not None:
        raise click.UsageError("give either --mirror URL or --topic FILE")
    from learners.learner import LearnerError

    with one_line(ConfigError, HistoryError, LearnerError, LedgerError, RunError):
        config = load_config(home / CONFIG if home.is_dir() else home)
        notes = [note for note in read_notes(config.data / FOLDER) if note.topic == config.ledger.topic]
        if not notes:
            raise HistoryError(f"{config.data} has no history of topic {config.ledger.topic}; {REMEDY}")
        found = anyio.run(replay, config, notes, read_topic(config, mirror, topic), rounds)
        if not any(found.counts[fate] for fate in (Fate.SAME, Fate.DIFFERS, Fate.FAILED)):
            said = ", ".join(f"{count} {fate}" for fate, count in sorted(found.counts.items()))
            raise HistoryError(
                f"of what member {found.place} signed nothing can be recomputed ({said}); {REMEDY}"
            )
    click.echo(json.dumps(told(found), indent=2) if as_json else "\n".join(lines_of(found)))
    if not found.ok:
        sys.exit(FAILED)


def read_topic(config: Config, mirror: str | None, file: Path | None) -> Audit:
    """The run as the topic shows it, checked. Raises LedgerError, ConfigError."""
    name = config.ledger.topic
    if file is not None:
        with uncollected():
            result = from_pages(read_history(file), name, None, None)
    else:
        result = Audit(name)
        anyio.run(read_mirror, mirror or network_of(config.ledger).mirror_rest, result, None)
    if result.broken:
        raise LedgerError(str(result.violations[-1]))
    if result.state is None:
        raise LedgerError(f"topic {name} holds no run; check [ledger] topic")
    result.finish()
    return result


async def replay(config: Config, notes: list[Note], audit: Audit, rounds: range) -> Replay:
    """Recompute what is to be recomputed, with progress where somebody watches. Raises what a learner does."""
    from learners.client import open_learner

    assert audit.state is not None, "checked when it was read"
    newest = notes[-1]
    place = audit.state.place_of(newest.peer)
    if place is None:
        raise HistoryError(f"peer {newest.peer}, whose history it is, was never in the run; check --home")
    gathers = audit.state.params.contribution_window > 0
    claims = [claim for claim in claims_of(audit.rounds, place, gathers) if claim.round in rounds]
    if not claims:
        raise HistoryError(
            f"member {place} has signed neither vote nor proposal in these rounds; check --rounds"
        )
    learner, findings = config.learner, []
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        scratch = Path(folder)
        data = await anyio.to_thread.run_sync(copy_of, config.data / "learner", scratch / "data")
        async with open_learner(learner.name, learner.options, data, scratch) as process:
            check_learner(audit.state, await process.describe(), process.merges)
            console = Console(stderr=True)
            with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
                task = bar.add_task("recomputing", total=len(claims))
                async for finding in recompute(claims, config.data, process, scratch):
                    findings.append(finding)
                    bar.advance(task)
    return Replay(newest, place, tuple(findings), changes(config, notes, claims), len(audit.violations))


def changes(
    config: Config, notes: list[Note], claims: list[Claim]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """What is otherwise now than it was when the rounds in question were played, by the first such round."""
    now, found = provenance_of(config.learner), []
    ends = [*(note.since for note in notes[1:]), _LAST]
    for note, end in zip(notes, ends, strict=True):
        if any(note.since <= claim.round < end for claim in claims):
            found.append((note.since, note.provenance.differences(now)))
    return tuple((since, differences) for since, differences in found if differences)


def told(found: Replay) -> dict[str, Any]:
    """As plain JSON values (docs/replay.md)."""
    counts = found.counts
    return {
        "ok": found.ok,
        "topic": found.note.topic,
        "peer": found.note.peer,
        "place": found.place,
        "counts": {fate.value: counts[fate] for fate in Fate},
        "findings": [
            {
                "round": each.claim.round,
                "what": each.claim.what,
                "fate": each.fate.value,
                "said": each.said,
                "missing": list(each.missing),
            }
            for each in found.findings
        ],
        "changed": [{"since": since, "differences": list(all_)} for since, all_ in found.changed],
        "violations": found.violations,
    }


def lines_of(found: Replay) -> list[str]:
    """For people: the verdict first."""
    counts, again = found.counts, found.counts[Fate.SAME] + found.counts[Fate.DIFFERS]
    verdict = "the same" if found.ok else "NOT THE SAME"
    lines = [
        f"replay of member {found.place} on topic {found.note.topic}: {verdict}",
        f"  {again} recomputed: {counts[Fate.SAME]} the same, {counts[Fate.DIFFERS]} not",
    ]
    lines += [
        f"  round {each.claim.round}, {each.claim.what}: {each.fate.value}; {each.said}"
        + (f": {' '.join(each.missing)}" if each.missing else "")
        for each in found.findings
        if each.fate is not Fate.SAME
    ]
    for since, differences in found.changed:
        lines += [f"  since round {since} {difference}" for difference in differences]
    if not found.ok:
        lines.append(f"  {reason_of(found)}")
    if counts[Fate.MISSING]:
        lines.append(f"  {counts[Fate.MISSING]} not recomputed for want of weights: {REMEDY}")
    if found.violations:
        lines.append(f"  the topic has {found.violations} violations: roundabout audit names them")
    return lines


def reason_of(found: Replay) -> str:
    """Why something can differ."""
    if found.changed:
        return "with what has changed since then a difference is to be expected: replay as it was then"
    return "machine, versions and options are as they were then: the private data must have changed"
