"""The journal of signed messages."""

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.journal import AlreadySigned, Journal, JournalError, JournalFull

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_the_same_body_may_be_signed_again_and_another_may_not(path: Path) -> None:
    journal = Journal.open(path)
    assert journal.signed("vote", "run", 1) is None
    journal.remember("vote", "run", 1, b"approve", b"first message")
    journal.remember("vote", "run", 1, b"approve", b"second message")
    with pytest.raises(AlreadySigned) as refused:
        journal.remember("vote", "run", 1, b"reject", b"third message")
    assert refused.value.existing == b"first message"
    assert journal.signed("vote", "run", 1) == b"first message"


def test_other_rounds_runs_and_kinds_are_other_things(path: Path) -> None:
    journal = Journal.open(path)
    keys = [("vote", "run", 1), ("vote", "run", 2), ("vote", "other", 1), ("proposal", "run", 1)]
    for n, key in enumerate(keys):
        journal.remember(*key, b"body %d" % n, b"message %d" % n)
    assert [journal.signed(*key) for key in keys] == [b"message %d" % n for n in range(4)]


ENTRIES = st.tuples(st.sampled_from(["vote", "proposal"]), st.sampled_from(["a", "b"]), st.integers(1, 3))


@settings(deadline=None, max_examples=20)
@given(entries=st.lists(st.tuples(ENTRIES, st.binary(max_size=1)), max_size=10))
def test_it_behaves_like_a_dictionary_that_outlives_it(
    entries: list[tuple[tuple[str, str, int], bytes]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory) / "journal", entries)


def compare(path: Path, entries: list[tuple[tuple[str, str, int], bytes]]) -> None:
    model: dict[tuple[str, str, int], bytes] = {}
    for key, body in entries:
        journal = Journal.open(path)
        if model.setdefault(key, body) == body:
            journal.remember(*key, body, b"signed " + body)
        else:
            with pytest.raises(AlreadySigned):
                journal.remember(*key, body, b"signed " + body)
        journal.close()
    journal = Journal.open(path)
    assert {key: journal.signed(*key) for key in model} == {
        key: b"signed " + body for key, body in model.items()
    }
    journal.close()


def test_what_was_remembered_survives_a_killed_process(path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from node.journal import Journal\n"
        "Journal.open(Path(sys.argv[1])).remember('vote', 'run', 7, b'body', b'message')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert Journal.open(path).signed("vote", "run", 7) == b"message"


def test_only_the_owner_may_read_it(path: Path) -> None:
    Journal.open(path).remember("vote", "run", 1, b"body", b"message")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4_096])
def test_a_damaged_file_is_one_clear_line(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(JournalError, match=f"journal {path}") as error:
        Journal.open(path)
    assert "\n" not in str(error.value)


def test_a_damaged_page_is_found_at_the_start(path: Path) -> None:
    journal = Journal.open(path)
    for n in range(200):
        journal.remember("vote", "run", n, b"body" * 20, b"message" * 20)
    journal.close()
    data = bytearray(path.read_bytes())
    data[5_000:9_000] = bytes(4_000)
    path.write_bytes(data)
    with pytest.raises(JournalError, match="join again with a new key") as error:
        Journal.open(path)
    assert "\n" not in str(error.value)


def test_a_place_that_cannot_be_written_is_one_clear_line(path: Path) -> None:
    with pytest.raises(JournalError, match="cannot open the journal"):
        Journal.open(path / "below" / "nothing")


def test_a_full_disk_is_another_thing_than_a_damaged_journal(path: Path) -> None:
    journal = Journal.open(path)
    journal._database.execute("PRAGMA max_page_count = 4")
    full = fill(journal)
    assert "free the disk" in full
    assert "leave the run" not in full
    journal._database.execute("PRAGMA max_page_count = 1000")
    journal.remember("vote", "run", 1_000, b"body", b"message")
    assert journal.signed("vote", "run", 0) == b"message" * 100


def fill(journal: Journal) -> str:
    """What it says once there is no room any more."""
    for n in range(100):
        try:
            journal.remember("vote", "run", n, b"body", b"message" * 100)
        except JournalFull as full:
            return str(full)
    raise AssertionError("it never was")
