"""`roundabout audit`: read a topic, check everything, say what does not hold."""

import json
import shlex
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from ledger.ahead import add_all, uncollected
from ledger.audit import Audit, report
from ledger.checkpoint import confirm, read_checkpoint, write_checkpoint
from ledger.compare import Comparison
from ledger.compare import compare as side_by_side
from ledger.evidence import CONTRADICTIONS
from ledger.files import write_whole
from ledger.lookup import FileTransfers
from ledger.mirror import Mirror
from ledger.pages import RawEntry, SavedHistory, read_history, write_history
from ledger.reading import Reader, take_saved
from ledger.report_html import page
from ledger.topic import LedgerError
from node.cli.exits import FAILED, one_line
from node.cli.follow import follow
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
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Go on where the last audit with this file ended, and put this one aside in it.",
)
@click.option("--compare", metavar="URL", help="Another mirror: check that it has the same history.")
@click.option("--follow", "following", is_flag=True, help="Go on as messages arrive, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    topic: str | None,
    mirror: str | None,
    pages: Path | None,
    save: Path | None,
    html: Path | None,
    checkpoint: Path | None,
    compare: str | None,
    following: bool,
    as_json: bool,
) -> None:
    """Check a run from its topic alone: history, signatures, turns, tallies and money.

    Exits 0 when it all holds, 1 with every violation listed, 2 when the audit could not be run.
    """
    if topic is not None and not is_entity(topic):
        raise click.UsageError(f"{topic!r} is no topic; it reads 0.0.1234")
    if save is not None and (following or checkpoint is not None):
        raise click.UsageError("--save keeps a whole history; leave out --follow and --checkpoint")
    if compare is not None and (following or checkpoint is not None):
        raise click.UsageError("--compare needs a whole history; leave out --follow and --checkpoint")
    messages: Sequence[RawEntry] = ()
    # A history that is here as a whole is kept as a whole, and then told of.
    with one_line(LedgerError), nullcontext() if pages is None else uncollected():
        if pages is not None and mirror is None and not following:
            history = read_history(pages)
            messages, result = history.messages, from_pages(history, topic, save, checkpoint)
        elif mirror is not None and topic is not None and pages is None:
            name = TopicId(topic)
            if save is not None or compare is not None:
                history = anyio.run(fetch_history, mirror, name)
                messages, result = history.messages, from_pages(history, topic, save, None)
            else:
                result = put_aside(checkpoint, name)
                say = partial(click.echo, err=as_json) if following else None
                # Ctrl-C is how following ends; without it, an interruption is no verdict.
                with suppress(KeyboardInterrupt) if following else nullcontext():
                    anyio.run(read_mirror, mirror, result, say)
        else:
            raise click.UsageError(
                "give either --topic ID and --mirror URL, or --pages FILE without --follow"
            )
        if not result.messages:
            raise LedgerError(f"topic {result.topic} is empty: there is nothing to audit; check --topic")
        if checkpoint is not None and not result.broken:
            write_checkpoint(checkpoint, result)
        if compare is not None:
            result.take_comparison(anyio.run(compare_with, compare, result.topic, messages))
        result.finish()
        if html is not None:
            write_whole(html, page(report(result), again(result.topic, mirror)).encode(), "the page")
        click.echo(json.dumps(report(result), indent=2) if as_json else summary(result))
    if not result.ok:
        raise SystemExit(FAILED)


def from_pages(history: SavedHistory, topic: str | None, save: Path | None, checkpoint: Path | None) -> Audit:
    """The audit of a history that is here as a whole, not finished yet. Raises LedgerError."""
    if save is not None:
        write_history(save, history.messages, history.transactions, history.accounts)
    transfers = FileTransfers(history.transactions)
    result = put_aside(checkpoint, TopicId(topic) if topic is not None else topic_of(history.messages))
    result.find = transfers.found
    stands_at = result.sequence
    if stands_at:
        confirm(result, next(iter(history.messages[stands_at - 1 : stands_at]), None))
    add_all(result, history.messages[stands_at:])
    take_saved(result, history, transfers)
    return result


async def read_mirror(url: str, result: Audit, say: Callable[[str], None] | None) -> None:
    """Audit what a mirror has after where the audit stands; where there is `say`, without end."""
    async with Mirror(url) as mirror:
        if result.sequence:
            async with aclosing(mirror.messages(result.topic, result.sequence - 1)) as entries:
                confirm(result, await anext(entries, None))
        if say is not None:
            await follow(mirror, result, say)
        else:
            await Reader(mirror, result).read()


def put_aside(checkpoint: Path | None, topic: TopicId) -> Audit:
    """The audit to go on with: a new one without a checkpoint. Raises LedgerError."""
    return Audit(topic) if checkpoint is None else read_checkpoint(checkpoint, topic)


def again(topic: TopicId, mirror: str | None) -> str:
    """The command with which anybody repeats an audit; a placeholder where we read a saved copy."""
    return f"roundabout audit --topic {topic} --mirror {shlex.quote(mirror) if mirror else 'URL'}"


async def fetch_history(url: str, name: TopicId) -> SavedHistory:
    """All that an audit reads of a topic: its messages, the treasury's transactions and those that records name."""
    async with Mirror(url) as mirror:
        reader = Reader(mirror, Audit(name), keep=True)
        await reader.read()
        return await reader.saved()


async def compare_with(url: str, name: TopicId, messages: Sequence[RawEntry]) -> Comparison:
    """How far another mirror has the same history. Raises LedgerError."""
    async with Mirror(url) as mirror:
        return await side_by_side(messages, mirror, name)


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
    lines += [f"  {result.compared}"] if result.compared else []
    lines += [f"  {violation}" for violation in result.violations]
    lines += [
        f"  messages {e['first']} and {e['second']}: "
        f"{CONTRADICTIONS[e['kind']]} of member {e['member']} in round {e['round']}"
        for e in facts["equivocations"]
    ]
    lines += money_lines(facts)
    return "\n".join(lines)


def money_lines(facts: dict[str, Any]) -> list[str]:
    """What the treasury holds and owes, and what each account earned."""
    money = facts.get("money") or {}
    lines = [f"  {account} earned {amount} tinybar" for account, amount in facts["credits"].items()]
    if not money.get("deposits"):
        return lines
    account = money["account"]
    lines.append(
        f"  treasury {money['treasury']}: {money['liabilities']} tinybar held for the run, {money['owed']} of it owed; "
        f"{money['paid']} paid, {money['fees']} fees"
    )
    if account is not None:
        lines.append(
            f"  its balance {account['balance']} by its {account['source']}, unclaimed "
            f"{account['unclaimed_total'] + account['unlisted']}; its key: {account['key']}"
        )
    return lines
