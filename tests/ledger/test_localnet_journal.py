import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.localnet.errors import LocalnetError
from ledger.localnet.files import held_directory
from ledger.localnet.journal import Genesis, Journal, Ordered

GENESIS = Genesis(time=5, operator_key=bytes(range(32)))
ITEMS = [Ordered(time=10 + i, raw=b"transaction %d" % i) for i in range(6)]


def write(path, items=ITEMS) -> list[int]:
    """One frame an item; returns the file's size after each, the one before the first included."""
    sizes = []
    with Journal(path, GENESIS) as journal:
        sizes.append(path.stat().st_size)
        for item in items:
            journal.append([item])
            sizes.append(path.stat().st_size)
    return sizes


def read(path) -> tuple[list[Ordered], int]:
    with Journal(path, Genesis(0, bytes(32))) as journal:
        assert journal.genesis == GENESIS
        return list(journal.replay()), journal.torn_bytes


def test_what_was_appended_comes_back_in_order(tmp_path):
    path = tmp_path / "journal"
    write(path)
    with Journal(path, GENESIS) as journal:
        journal.append(Ordered(time=100 + i, raw=bytes([i])) for i in range(3))
        journal.append([])
    assert read(path) == ([*ITEMS, *(Ordered(time=100 + i, raw=bytes([i])) for i in range(3))], 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_journal_cut_anywhere_gives_back_every_whole_frame(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "journal"
    sizes = write(path)
    cut = data.draw(st.integers(sizes[0], sizes[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = sum(size <= cut for size in sizes) - 1
    assert read(path) == (ITEMS[:whole], cut - sizes[whole])
    # The cut is final: what is appended next is not behind garbage.
    with Journal(path, GENESIS) as journal:
        journal.append([ITEMS[-1]])
    assert read(path) == ([*ITEMS[:whole], ITEMS[-1]], 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_in_the_last_frame_cuts_it_and_elsewhere_is_reported(tmp_path_factory, where, change):
    path = tmp_path_factory.mktemp("changed") / "journal"
    sizes = write(path)
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= change
    path.write_bytes(content)
    if where % len(content) >= sizes[-2]:
        assert read(path) == (ITEMS[:-1], sizes[-1] - sizes[-2])
    else:
        with pytest.raises(LocalnetError):
            read(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\xff" * 40, b"\x00\x00\x00\x05abcd", b"x"])
def test_a_tail_that_is_no_frame_is_cut(tmp_path, tail):
    path = tmp_path / "journal"
    write(path)
    with path.open("ab") as file:
        file.write(tail)
    assert read(path) == (ITEMS, len(tail))
    assert read(path) == (ITEMS, 0)


def test_a_directory_has_one_localnet(tmp_path):
    with (
        held_directory(tmp_path / "new"),
        pytest.raises(LocalnetError, match="in use by another localnet"),
        held_directory(tmp_path / "new"),
    ):
        raise AssertionError("held twice")
    with held_directory(tmp_path / "new"):
        pass


def test_a_foreign_file_is_left_alone(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"somebody's diary")
    with pytest.raises(LocalnetError, match="not a localnet journal"):
        Journal(path, GENESIS)
    assert path.read_bytes() == b"somebody's diary"
