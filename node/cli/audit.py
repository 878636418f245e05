"""`roundabout audit`: read a topic, check everything, say what does not hold."""

import json
import shlex
from pathlib import Path
from typing import Any

import anyio
import click

from ledger.audit import Audit, audit, report
from ledger.files import write_whole
from ledger.mirror import Mirror
from ledger.pages import RawEntry, SavedHistory, read_history, write_history
from ledger.report_html import page
from ledger.topic import LedgerError
from node.cli.exits import FAILED, one_line
from protocol.ids import TopicId, is_entity


@click.command("audit")
@click.option(
    "--topic", metavar="ID", help="The topic, for example 0.0.1234. With --pages: by default the file's."
)
@click.option(
    "--mirror", metavar="URL", help="A mirror node's REST address, for example http://127.0.0.1:5551."
)
@click.option(
    "--pages", type=click.Path(path_type=Path), metavar="FILE", help="Read a saved history instead."
)
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help="Save what the mirror returned."
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report as a page for a browser.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    topic: str | None,
    mirror: str | None,
    pages: Path | None,
    save: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Check a run from its topic alone: history, signatures, turns, tallies and credits.

    Exits 0 when it all holds, 1 with every violation listed, 2 when the audit could not be run.
    """
    if topic is not None and not is_entity(topic):
        raise click.UsageError(f"{topic!r} is no topic; it reads 0.0.1234")
    with one_line(LedgerError):
        if pages is not None and mirror is None:
            history = read_history(pages)
        elif mirror is not None and topic is not None and pages is None:
            history = anyio.run(fetch_history, mirror, topic)
        else:
            raise click.UsageError("give either --topic ID and --mirror URL, or --pages FILE")
        if save is not None:
            write_history(save, history.messages, history.transactions)
        name = TopicId(topic) if topic is not None else topic_of(history.messages)
        if not history.messages:
            raise LedgerError(f"topic {name} is empty: there is nothing to audit; check --topic")
        result = audit(name, history.messages)
        if html is not None:
            write_whole(html, page(report(result), again(name, mirror)).encode(), "the page")
    click.echo(json.dumps(report(result), indent=2) if as_json else summary(result))
    if not result.ok:
        raise SystemExit(FAILED)


def again(topic: TopicId, mirror: str | None) -> str:
    """The command with which anybody repeats an audit; a placeholder where we read a saved copy."""
    return f"roundabout audit --topic {topic} --mirror {shlex.quote(mirror) if mirror else 'URL'}"


async def fetch_history(url: str, topic: str) -> SavedHistory:
    """All that a mirror has of a topic, and the transactions of the accounts in its roster."""
    name = TopicId(topic)
    async with Mirror(url) as mirror:
        messages = [entry async for entry in mirror.messages(name)]
        found = audit(name, messages)
        members = () if found.state is None else found.state.roster
        transactions: dict[str, RawEntry] = {}
        for account in sorted({member.account for member in members}):
            for entry in await mirror.transactions(account):
                transactions[entry["consensus_timestamp"]] = entry
    return SavedHistory(tuple(messages), tuple(transactions[time] for time in sorted(transactions)))


def topic_of(messages: tuple[RawEntry, ...]) -> TopicId:
    """The topic that a saved history says it is of. Raises LedgerError."""
    name: Any = messages[0].get("topic_id") if messages else None
    if not isinstance(name, str) or not is_entity(name):
        raise LedgerError("the saved history does not say its topic; give --topic")
    return TopicId(name)


def summary(result: Audit) -> str:
    """The report for people: the verdict of the audit first, then what each account earned."""
    facts = report(result)
    lines = [
        f"audit of topic {result.topic}: {'ok' if result.ok else 'VIOLATIONS'}",
        f"  run {facts['run']}",
        f"  {facts['rounds']} rounds: {facts['accepted']} accepted, {facts['rejected']} rejected, "
        f"{facts['neutral']} neutral, {facts['closed']} closed, {facts['passed']} passed",
        f"  head {facts['head']}",
        f"  {facts['messages']} messages, {len(facts['ignored'])} of them without effect",
    ]
    lines += [f"  message {v.sequence}: {v.reason}" for v in result.violations]
    lines += [
        f"  messages {e['first']} and {e['second']}: two {e['kind']}s of member {e['member']} in round {e['round']}"
        for e in facts["equivocations"]
    ]
    lines += [f"  {account} earned {amount} tinybar" for account, amount in facts["credits"].items()]
    return "\n".join(lines)
