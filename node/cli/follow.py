"""`roundabout audit --follow`: the same audit, going on as messages arrive, until Ctrl-C."""

from collections.abc import Callable, Iterator
from contextlib import aclosing

import anyio

from ledger.audit import Audit
from ledger.mirror import Mirror
from ledger.pages import RawEntry
from ledger.topic import LedgerError
from protocol.state import ClosedRound

POLL_SECONDS = 1.0
"""How often to look for news."""

Say = Callable[[str], None]


async def follow(mirror: Mirror, result: Audit, say: Say) -> None:
    """Audit what arrives, and say a line of each round that ends and each violation at once.

    Returns where the history breaks, for nothing after that is believed; else it goes on until it is
    cancelled. A mirror that goes away is asked again until it is back. Raises LedgerError when it cannot
    be read even once.
    """
    away, reached = False, False
    while True:
        try:
            async with aclosing(mirror.messages(result.topic, result.sequence)) as entries:
                async for entry in entries:
                    for line in news(result, entry):
                        say(line)
                    if result.broken:
                        return
        except LedgerError as error:
            if not reached:
                raise
            if not away:
                say(f"the mirror is out of reach, and asked again until it is back: {error}")
            away = True
        else:
            if away:
                say("the mirror is within reach again")
            away, reached = False, True
        await anyio.sleep(POLL_SECONDS)


def news(result: Audit, entry: RawEntry) -> Iterator[str]:
    """Take the next entry; what it brings to light."""
    rounds, faults, proofs = len(result.rounds), len(result.violations), len(result.evidence.found)
    result.add(entry)
    for violation in result.violations[faults:]:
        yield f"VIOLATION in message {violation.sequence}: {violation.reason}"
    for proof in list(result.evidence.found.values())[proofs:]:
        yield (
            f"messages {proof.first} and {proof.second}: "
            f"two {proof.kind}s of member {proof.member} in round {proof.round}"
        )
    for closed in result.rounds[rounds:]:
        yield round_line(closed)


def round_line(closed: ClosedRound) -> str:
    """One closed round: how it ended, whose it was, and who voted what."""
    votes = ", ".join(f"{vote.body.voter} {vote.body.choice}" for vote in closed.votes)
    return (
        f"round {closed.number}: {closed.ending}, proposed by member {closed.proposer}"
        f" ({votes or 'no votes'}), message {closed.sequence}"
    )
