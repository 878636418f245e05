"""Mutation test of the auditor: a recorded run of 200 rounds, changed in one thing at a time by two attackers.

The first changes an entry; the running hash finds it there. The second is a mirror that makes the whole rest of the
history anew so that it chains; what it can hide is what docs/audit.md lists, and nothing else.
"""

import base64
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from functools import cache

import anyio
import pytest

from ledger.chunks import History
from ledger.compare import compare
from ledger.mirror import Mirror
from ledger.pages import RawEntry
from ledger.running_hash import INITIAL_RUNNING_HASH
from ledger.topic import HistoryBroken
from protocol.ids import TopicId
from tests.ledger.chains import TOPIC
from tests.ledger.mutations import Mutation, all_mutations, variants
from tests.ledger.recorded_run import recorded
from tests.ledger.rewriting import Rewriting, rechained
from tests.ledger.survivors import class_of, documented, tail_of

SAMPLE, OF_MONEY = 1_000, 150
"""Changes of all kinds, and of transactions, which are few, that are tried by default."""
EXAMPLES: dict[str, tuple[str, int | None]] = {
    "spelling": ("chunk_info initial_transaction_id nonce removed", None),
    "unread": ("deposit charged_tx_fee +1", None),
    "unclaimed": ("dust dropped", None),
    "not shown": ("account account another account", None),
    "foreign": ("message dropped", -1),
    "payer": ("payer_account_id another account", -2),
    "time": ("consensus_timestamp +1 ns", -2),
    "order": ("message swapped", -2),
    "copy": ("message doubled", -2),
    "repeated": ("end signatures 0 removed", None),
    "outcome": ("settled v +1", -2),
}
"""For each class a change that shows that it is still there: what, and which message, from the end."""
CAUGHT = (
    ("running hash", r"expected running hash"),
    ("form of an entry", r"breaks at sequence number|saved history"),
    ("hidden record", r"said to be a chunk"),
    ("anchor", r"reads another history|not based on the head"),
    ("signature", r"does not verify|\d signatures"),
    ("form of a record", r"malformed|with two votes|two members"),
    ("treasury", r"the treasury|succeed twice"),
    ("money", r"settlement|payment|transfer|a topup|a fund|rotation"),
    ("tally", r"whose votes say"),
    ("run", r"(of|in|from) another run|for topic|no genesis|a second genesis"),
    ("turn", r"round|turn|a vote of|nobody in the roster|evidence|amendment|a join|a candidate"),
)
"""By what a violation says, what has caught a change: the first that fits."""


@cache
def rewriting() -> Rewriting:
    return Rewriting(recorded())


def how(violation: str) -> str:
    """What has caught a change."""
    return next((name for name, pattern in CAUGHT if re.search(pattern, violation)), violation)


def outcome(mutations: Iterable[Mutation]) -> tuple[Counter[str], dict[str, list[Mutation]]]:
    """How often what has caught a change, and what was not caught, by class."""
    caught: Counter[str] = Counter()
    survivors: dict[str, list[Mutation]] = {}
    for mutation in mutations:
        verdict = rewriting().audit(mutation)
        if verdict.violation is not None:
            caught[how(verdict.violation)] += 1
        else:
            assert verdict.report is not None
            name = class_of(rewriting(), mutation, verdict.report)
            survivors.setdefault(name, []).append(mutation)
    return caught, survivors


def test_a_change_without_the_running_hashes_after_it_is_found_at_its_entry() -> None:
    sequence, time, running_hash, changed = 0, 0, INITIAL_RUNNING_HASH, 0
    for entry in recorded().entries:
        fields = [
            (name, other)
            for name in ("payer_account_id", "consensus_timestamp", "sequence_number", "topic_id")
            for _, other in variants(entry[name])
        ]
        raw = bytearray(base64.b64decode(entry["message"]))
        raw[sequence % len(raw)] ^= 1
        fields += [("message", base64.b64encode(raw).decode()), ("running_hash_version", 2)]
        fields += [("running_hash", base64.b64encode(running_hash).decode())]
        for name, other in fields:
            with pytest.raises(HistoryBroken, match=f"breaks at sequence number {sequence + 1}:"):
                History(TOPIC, sequence, time, running_hash).add({**entry, name: other})
        changed += len(fields)
        history = History(TOPIC, sequence, time, running_hash)
        history.add(entry)
        sequence, time, running_hash = history.sequence, history.time, history.running_hash
    assert changed > 5_000


def test_a_mirror_that_rewrites_the_rest_is_found_by_a_sample() -> None:
    mutations = list(all_mutations(recorded()))
    draw = random.Random(1)
    of_money = [mutation for mutation in mutations if mutation.transactions is not None]
    sample = draw.sample(mutations, SAMPLE) + draw.sample(of_money, OF_MONEY)
    examples = {name: example(mutations, name) for name in EXAMPLES}
    caught, survivors = outcome([*sample, *examples.values()])
    assert caught.total() > SAMPLE * 0.9
    assert survivors.keys() == documented()
    for name, mutation in examples.items():
        assert mutation in survivors[name]


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_a_mirror_that_rewrites_the_rest_is_found_or_hides_what_is_documented() -> None:
    caught, survivors = outcome(all_mutations(recorded()))
    assert caught.total() > 55_000
    assert survivors.keys() == documented()
    assert set(caught) <= {name for name, _ in CAUGHT}, "a new kind of violation: name it"
    for name, mutations in survivors.items():
        for mutation in mutations if name != "spelling" else mutations[:3]:
            assert mutation.entries is None or is_seen(mutation) == (name != "spelling")


def example(mutations: Iterable[Mutation], name: str) -> Mutation:
    """The change that stands for a class."""
    what, place = EXAMPLES[name]
    number = None if place is None else len(recorded().spans) + place
    return next(each for each in mutations if each.what == what and number in (None, each.start))


def test_what_the_end_of_a_topic_hides_another_mirror_shows() -> None:
    mutations = list(all_mutations(recorded()))
    examples = {name: example(mutations, name) for name in EXAMPLES}
    of_messages = {name: each for name, each in examples.items() if each.entries is not None}
    assert len(of_messages) == 8
    for name, mutation in of_messages.items():
        assert mutation.start >= tail_of(recorded()) or name == "spelling"
        assert is_seen(mutation) == (name != "spelling")


class Honest(Mirror):
    """A mirror that has what was recorded."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    async def messages(self, topic: TopicId, after: int = 0) -> AsyncGenerator[RawEntry, None]:
        for entry in recorded().entries[after:]:
            yield entry


def is_seen(mutation: Mutation) -> bool:
    """Whether another mirror shows that the topic was changed, or is not all there."""
    recording = recorded()
    assert mutation.entries is not None
    start = recording.spans[mutation.start][0]
    suffix = (*mutation.entries, *recording.entries[start + mutation.length :])
    before = recording.entries[start - 1]["running_hash"] if start else None
    running_hash = base64.b64decode(before) if before else INITIAL_RUNNING_HASH
    mine = [*recording.entries[:start], *rechained(suffix, start, running_hash)]
    found = anyio.run(compare, mine, Honest(), TOPIC)
    return found.differs or len(mine) != len(recording.entries)
