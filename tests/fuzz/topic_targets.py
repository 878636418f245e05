"""Targets for what comes from the topic: records, messages, entries and their chunks, and the fold over them."""

import base64
import json
from contextlib import suppress
from functools import cache
from typing import Any

from ledger.chunks import CHUNK_WINDOW, MAX_CHUNKS, MAX_MESSAGE, MAX_OPEN, Dropped, History
from ledger.running_hash import next_running_hash
from ledger.topic import HistoryBroken, TopicMessage
from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.fields import canonical
from protocol.fold import names_transfer, read
from protocol.ids import SECOND, AccountId, Nanoseconds
from protocol.messages import Choice, parse_message
from protocol.parse import parse_record
from protocol.records import Stamp
from protocol.state import RunState
from tests.fuzz.target import Target, check_line
from tests.ledger.chains import START
from tests.ledger.recorded_run import recorded
from tests.protocol import acts
from tests.protocol.world import TOPIC, Run, blob, is_conserved, propose, running_hash, verdict, vote_record

WORDS = (
    b'"op":"', b'"p":"roundabout"', b'"v":1', b"genesis", b"verdict", b"vote", b"propose", b"close", b"pass",
    b"present", b"fund", b"topup", b"join", b"leave", b"params", b"upgrade", b"end", b"fault", b"settle", b"settled",
    b"failed", b"rotate", b"accepted", b"approve", b"unavailable", b"roundabout", b'{"', b'":', b'"},{"', b"0.0.1001",
    b"?scheduled", b"12D3KooW", b"16Uiu2HAm", b"address", b"/ip4/127.0.0.1/tcp/", b"pieces",
)  # fmt: skip


def check_record(data: bytes) -> None:
    """A record is what its canonical form says, or is refused as the spec says."""
    try:
        record = parse_record(data)
    except (Ignore, Invalid) as error:
        check_line(error)
        return
    assert canonical(record) == data, "two encodings of one record"
    assert record.op.encode() in data
    named = type(record).__name__ in (
        "FundRecord",
        "TopupRecord",
        "JoinRecord",
        "SettledRecord",
        "FailedRecord",
    )
    assert names_transfer(data) or not named, "a record whose transfer nobody looks up"


@cache
def record_seeds() -> list[bytes]:
    """One record of each kind and length, as they stand on topics."""
    by_kind = {}
    for body in recorded().bodies:
        try:
            op = parse_record(body).op
        except ProtocolError:
            op = "foreign"
        by_kind.setdefault((op, len(body) // 256), body)
    return [*by_kind.values(), canonical(Run(4).close())]


def check_message(data: bytes) -> None:
    """A message is what its canonical form says, or its sender's fault."""
    try:
        message = parse_message(data)
    except Invalid as error:
        check_line(error)
        return
    assert canonical(message) == data, "two encodings of one message"


@cache
def message_seeds() -> list[bytes]:
    """Proposals, a vote of each choice, and updates."""
    run = Run(4)
    proposal = run.proposal()
    votes = [run.vote(proposal, run.voters[0], choice) for choice in Choice]
    large = run.proposal(size=5_000_000, pieces=blob("pieces"))
    updates = [run.update(run.voters[0]), run.update(run.voters[1], size=5_000_000, pieces=blob("pieces"))]
    return [canonical(proposal), canonical(large), *map(canonical, (*votes, *updates))]


# ---- the fold ----


@cache
def third_round() -> Run:
    """A run of four in its third round; nothing more is put on its topic."""
    run = Run(4, pool=10**9, round_window=60)
    run.accept()
    run.accept()
    return run


@cache
def _world() -> tuple[RunState, Stamp, tuple[bytes, ...]]:
    """A run in its third round, and records that fit it: some in turn, some not."""
    run = third_round()
    proposal, state, stamp = run.proposal(), run.now, run.topic.messages[-1][1]
    votes = [run.vote(proposal, voter) for voter in run.voters]
    other = run.vote(proposal, run.voters[0], Choice.REJECT)
    records = [
        propose(proposal),
        *(vote_record(proposal, vote) for vote in (*votes, other)),
        verdict(proposal, votes, "accepted"),
        run.close(),
        run.pass_turn(),
        run.present(run.voters[0]),
        acts.fault(run.voters[0], votes[0], other),
        acts.leave(run, 3),
        acts.join(run, 5),
        acts.new_params(run, round_window=30),
        acts.upgrade(run),
        acts.end(run),
        acts.rotate(run, (0, 1, 2), 2),
        acts.settle(run),
        run.genesis,
        run.address(1, "/ip4/192.0.2.7/tcp/4101", "/dns4/example.org/tcp/1"),
        propose(run.proposal(size=5_000_000, pieces=blob("pieces"))),
    ]
    return state, stamp, tuple(map(canonical, records))


def check_fold(data: bytes) -> None:
    """Lines are records, one after the other: each takes the state to a valid one, or changes nothing."""
    state, stamp, _ = _world()
    fresh: RunState | None = None
    for number, line in enumerate(data.split(b"\n", 24)[:24]):
        sequence = stamp.sequence + 1 + number
        # Every eighth is late, so that deadlines pass.
        time = Nanoseconds(stamp.time + (number + 1) * SECOND + (number // 8) * 61 * SECOND)
        at = Stamp(sequence, time, running_hash(sequence, line))
        before = state
        try:
            state = read(before, TOPIC, line, at)
            assert is_conserved(state), "money was made or lost"
        except (Ignore, Invalid) as error:
            check_line(error)
            assert state is before
        with suppress(Ignore, Invalid):
            fresh = read(fresh, TOPIC, line, at)


def fold_seeds() -> list[bytes]:
    """Whole rounds, in turn and out of it, and each record alone."""
    records = _world()[2]
    rounds = [b"\n".join(records[:4]), b"\n".join(records[::-1]), b"\n".join(records)]
    return [*rounds, *records, b"\n".join((records[5], records[6], records[7]))]


# ---- entries of a mirror ----


def check_entries(data: bytes) -> None:
    """Lines are a mirror's entries, taken as they are: each is taken, or breaks the history and changes nothing."""
    history = History(TOPIC)
    for line in data.split(b"\n")[:32]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(entry, dict):
            continue
        before = history.sequence, history.time, history.running_hash
        try:
            history.add(entry)
        except HistoryBroken as error:
            check_line(error)
            assert (history.sequence, history.time, history.running_hash) == before


def entry_seeds() -> list[bytes]:
    """The first messages of a run, as a mirror shows them."""
    entries = [json.dumps(entry).encode() for entry in recorded().entries[:40]]
    return [b"\n".join(entries[:3]), b"\n".join(entries[:20]), *entries[:2]]


def check_chunks(data: bytes) -> None:
    """Lines are the chunk information of entries whose hashes are right: submitters write it, and break nothing."""
    history, time, payer = History(TOPIC), START * 10**9, AccountId("0.0.2000")
    for line in data.split(b"\n")[:200]:
        try:
            info = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(info, dict | None):
            continue
        body = (line * 40)[:4096]
        time += _pause(info)
        _add(history, info, body, time, payer)


def _pause(info: dict[str, Any] | None) -> int:
    """Nanoseconds before an entry: what it says, so that messages may also be late."""
    number = None if info is None else info.get("number")
    return number if type(number) is int and 0 < number <= 10**11 else 1


def _add(history: History, info: Any, body: bytes, time: int, payer: AccountId) -> None:
    running = next_running_hash(
        history.running_hash, payer, TOPIC, Nanoseconds(time), history.sequence + 1, body
    )
    seconds, nanos = divmod(time, 10**9)
    found = history.add(
        {
            "chunk_info": info,
            "consensus_timestamp": f"{seconds}.{nanos:09}",
            "message": base64.b64encode(body).decode(),
            "payer_account_id": payer,
            "running_hash": base64.b64encode(running).decode(),
            "running_hash_version": 3,
            "sequence_number": history.sequence + 1,
            "topic_id": TOPIC,
        }
    )
    for item in found:
        assert not isinstance(item, TopicMessage) or len(item.body) <= MAX_MESSAGE
        if isinstance(item, Dropped):
            check_line(ValueError(item.reason))
    assert len(history.open) <= MAX_OPEN
    for group in history.open.values():
        assert len(group.parts) < group.total <= MAX_CHUNKS
        assert sum(map(len, group.parts.values())) <= MAX_MESSAGE
        assert history.time - group.time <= CHUNK_WINDOW


def chunk_seeds() -> list[bytes]:
    """Messages of two to twenty chunks, in order and not."""
    seeds = []
    for total in (2, 3, 20, 21):
        lines = [
            json.dumps(
                {
                    "initial_transaction_id": {
                        "account_id": "0.0.2000",
                        "nonce": 0,
                        "scheduled": False,
                        "transaction_valid_start": f"{START}.000000001",
                    },
                    "number": number,
                    "total": total,
                }
            ).encode()
            for number in range(1, total + 1)
        ]
        seeds += [b"\n".join(lines), b"\n".join(lines[::-1])]
    return seeds


TARGETS = (
    Target("record", check_record, record_seeds, WORDS, 3.0),
    Target("message", check_message, message_seeds, WORDS, 3.0),
    Target("fold", check_fold, fold_seeds, (*WORDS, b"\n"), 0.3),
    Target("entries", check_entries, entry_seeds, (b"chunk_info", b"running_hash", b"null")),
    Target(
        "chunks", check_chunks, chunk_seeds, (b'"number":', b'"total":', b'"nonce":', b"null", b"\n"), 0.7
    ),
)
