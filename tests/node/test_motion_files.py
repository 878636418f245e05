"""The files in which motions are passed around: whatever is in them, it is a motion or one line."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.identity import identity_of
from node.motions.drafts import draft_join, draft_leave, draft_params, draft_rotate
from node.motions.files import MAX_FILE, Motion, MotionError, parse_motion, read_motion, write_motion
from protocol.fields import canonical
from protocol.ids import Tinybar
from protocol.transfers import TransactionId
from tests.protocol.world import SECRETS, Run, account


def motions() -> list[Motion]:
    run = Run(4)
    stranger = identity_of(SECRETS[9])
    paid = TransactionId("0.0.2009-1700000000-000000001")
    return [
        draft_join(run.now, stranger, account(9), Tinybar(5), paid),
        draft_leave(run.now, identity_of(SECRETS[1])),
        draft_params(
            run.now,
            {"round_window": "9", "min_approvals": "null", "admission": "vote"},
        ),
        draft_rotate(run.now, None, ()),
    ]


MOTIONS = motions()
VALID = canonical(MOTIONS[0])


@pytest.mark.parametrize("motion", MOTIONS, ids=lambda motion: motion.op)
def test_a_motion_is_read_back_as_it_was_written(tmp_path: Path, motion: Motion) -> None:
    file = tmp_path / "motion.json"
    write_motion(file, motion)
    assert read_motion(file) == motion
    assert "\n  " in file.read_text()  # for people


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(VALID) | changes).encode()


def body(**changes: Any) -> bytes:
    value = json.loads(VALID)
    return json.dumps(value | {"body": value["body"] | changes}).encode()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no motion"),
        (b"null", "no motion"),
        (b'{"op": ["join"]}', "no motion"),
        (b'{"op": {"join": 1}}', "no motion"),
        (changed(op="genesis"), "no motion"),
        (changed(op="verdict"), "no motion"),
        (changed(op="leave"), "malformed"),
        (changed(v=2), "malformed"),
        (changed(extra=1), "malformed"),
        (changed(sig="x" * 86), "malformed"),
        (changed(signatures=[[0, "A" * 86]] * 2), "order of place"),
        (changed(signatures=[[1000, "A" * 86]]), "malformed"),
        (body(stake=5.0), "malformed"),
        (body(stake="5"), "malformed"),
        (body(stake=2**60), "malformed"),
        (body(stake=0), "go together"),
        (body(account="0.0.1\x1b[2J"), "malformed"),
        (body(peer="x"), "malformed"),
        (body(run="\u202e"), "malformed"),
        (VALID + b" " * MAX_FILE, "more than"),
        (json.dumps({"op": "end", "x": "y" * 100_000}).encode(), "malformed"),
    ],
)
def test_what_is_no_motion_is_one_short_line(tmp_path: Path, raw: bytes, says: str) -> None:
    file = tmp_path / "motion.json"
    file.write_bytes(raw)
    with pytest.raises(MotionError, match=says) as caught:
        read_motion(file)
    line = str(caught.value)
    assert line.startswith(f"{file}: ")
    assert line.isprintable()
    assert len(line) < 400 + len(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MotionError, match=r"nothing\.json: No such file"):
        read_motion(tmp_path / "nothing.json")
    with pytest.raises(MotionError, match="Is a directory"):
        read_motion(tmp_path)


def test_a_record_that_no_topic_takes_is_refused() -> None:
    value = json.loads(canonical(MOTIONS[2]))
    value["signatures"] = [[place, "A" * 86] for place in range(300)]
    with pytest.raises(MotionError, match=r"a record of \d+ bytes; a topic takes 20480"):
        parse_motion(json.dumps(value).encode())


def test_of_a_key_that_is_there_twice_the_record_has_one() -> None:
    """What is shown, signed and submitted is the parsed record, never the file."""
    motion = parse_motion(VALID.replace(b'"stake":5', b'"stake":4,"stake":5'))
    assert motion == MOTIONS[0]


@given(st.binary(max_size=200))
def test_bytes_are_no_motion(raw: bytes) -> None:
    with pytest.raises(MotionError):
        parse_motion(raw)


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_one_byte_more_or_less_is_a_motion_or_one_line(place: int, byte: int) -> None:
    raw = VALID[:place] + bytes([byte]) + VALID[place + 1 :]
    with suppress(MotionError):
        motion = parse_motion(raw)
        assert parse_motion(canonical(motion)) == motion
