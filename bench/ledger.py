"""What the ledger side costs: auditing next to bare cryptography, submitting next to the bare SDK, the fold's growth.

    python -m bench.ledger [--verdicts 10000] [--repeats 5] [--messages 200] [--json]

One machine, all its cores, a made-up history of 9 members with 8 votes a verdict, and an embedded network.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import auditing, submitting

SENDERS = {"bare": "bare SDK", "in_memory": "ours, outbox in memory", "on_disk": "ours, outbox on disk"}


def main() -> None:
    """Measure, and print a table or one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--verdicts", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--messages", type=int, default=200, help="submitted in each repeat")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--growth", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.growth is not None:
        sys.stdout.write(json.dumps(auditing.growth(arguments.growth, arguments.verdicts)) + "\n")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = auditing.measure(folder, arguments.verdicts, arguments.repeats)
        found["submit"] = submitting.measure(folder, arguments.messages, arguments.repeats)
    sys.stdout.write(json.dumps(found) + "\n" if arguments.json else table(found))


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    audit, submit = found["audit"], found["submit"]
    lines = [
        f"audit of {audit['verdicts']:,} verdicts, 8 votes each",
        f"  {'':12}{'audit/s':>10}{'bound/s':>10}{'ratio':>8}{'median':>8}",
        f"  {audit['processes']:>2} cores    {audit['audit']:>10,}{audit['bound']:>10,}"
        f"{audit['ratio']:>8.2f}{audit['median_ratio']:>8.2f}",
        f"   1 core     {audit['one_core']:>10,}{audit['one_core_bound']:>10,}"
        f"{audit['one_core_ratio']:>8.2f}{audit['one_core_median_ratio']:>8.2f}",
        f"  roundabout audit --pages, whole command: {found['command_seconds']} s",
        "fold",
        f"  {'verdicts':>10}{'CPU s':>8}{'state MB':>10}{'audit MB':>10}{'peak MB':>10}",
        *(
            f"  {f['verdicts']:>10,}{f['fold_seconds']:>8}{f['fold_mb']:>10}{f['audit_mb']:>10}{f['peak_mb']:>10}"
            for f in found["fold"]
        ),
        f"submit and wait for the receipt, {submit['messages']:,} messages each",
        *(
            f"  {label:28}{f['ms']:>6} ms{f['per_s']:>7}/s{f['ratio']:>7.2f} of its time"
            for f, label in ((submit[name], label) for name, label in SENDERS.items())
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
