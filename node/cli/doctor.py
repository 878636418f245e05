"""`roundabout doctor`: what keeps a node from taking part, and what to do about it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import anyio
import click

from node.cli.exits import FAILED, one_line
from node.config import Config, ConfigError, load_config
from node.doctor.findings import Finding


@click.command("doctor")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config: Path, as_json: bool) -> None:
    """Look at all that the daemon of the TOML file CONFIG needs, and say what is wrong and what to do.

    Changes nothing, also while the daemon runs. Exits 1 when something is a problem.
    """
    with one_line(ConfigError):
        settings = load_config(config)
    found = anyio.run(examine, settings, not as_json, backend="trio")
    is_well = all(finding.grade != "problem" for finding in found)
    if as_json:
        told = {"ok": is_well, "findings": [asdict(finding) for finding in found]}
        click.echo(json.dumps(told, indent=2))
    elif is_well:
        click.echo("nothing keeps this node from taking part")
    sys.exit(0 if is_well else FAILED)


async def examine(config: Config, aloud: bool) -> list[Finding]:
    """All findings; aloud: each is also told when it comes."""
    from node.doctor.checkup import checkup

    found: list[Finding] = []
    async for findings in checkup(config):
        found += findings
        for finding in findings if aloud else ():
            click.echo(line_of(finding))
    return found


def line_of(finding: Finding) -> str:
    """One finding for people."""
    said = f"{finding.grade:8} {finding.subject:8} {finding.cause}"
    return f"{said}; {finding.remedy}" if finding.remedy else said
