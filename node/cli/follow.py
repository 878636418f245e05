"""`roundabout audit --follow`: the same audit, going on as messages arrive, until Ctrl-C."""

from collections.abc import Callable, Iterator

import anyio

from ledger.audit import Audit
from ledger.evidence import CONTRADICTIONS
from ledger.holding import check_holding
from ledger.mirror import Mirror
from ledger.reading import Reader
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
    news = News(result)

    def heard() -> None:
        for line in news.lines():
            say(line)

    reader = Reader(mirror, result, heard=heard)
    while True:
        try:
            await reader.read()
            heard()
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


class News:
    """What an audit has brought to light since it was last asked."""

    def __init__(self, result: Audit) -> None:
        self._result = result
        self._rounds, self._faults = len(result.rounds), len(result.violations)
        self._proofs = len(result.evidence.found)
        self._holding = result.holding
        self._told: set[str] = set()

    def lines(self) -> Iterator[str]:
        """A line of each violation, equivocation and closed round that is new."""
        result = self._result
        faults, self._faults = result.violations[self._faults :], len(result.violations)
        proofs, self._proofs = (
            list(result.evidence.found.values())[self._proofs :],
            len(result.evidence.found),
        )
        rounds, self._rounds = result.rounds[self._rounds :], len(result.rounds)
        for violation in faults:
            yield f"VIOLATION in {violation}"
        for reason in self._treasury():
            yield f"VIOLATION: {reason}"
        for proof in proofs:
            yield (
                f"messages {proof.first} and {proof.second}: "
                f"{CONTRADICTIONS[proof.kind]} of member {proof.member} in round {proof.round}"
            )
        for closed in rounds:
            yield round_line(closed)

    def _treasury(self) -> list[str]:
        """What is wrong with the treasury, whenever it was read anew."""
        result = self._result
        if result.holding is self._holding or result.holding is None or result.state is None:
            return []
        self._holding = result.holding
        faults = check_holding(result.state, result.holding, result.book).faults
        reasons = [fault.reason for fault in faults if fault.reason not in self._told]
        self._told.update(reasons)
        return reasons


def round_line(closed: ClosedRound) -> str:
    """One closed round: how it ended, whose it was, and who voted what."""
    votes = ", ".join(f"{vote.body.voter} {vote.body.choice}" for vote in closed.votes)
    return (
        f"round {closed.number}: {closed.ending}, proposed by member {closed.proposer}"
        f" ({votes or 'no votes'}), message {closed.sequence}"
    )
