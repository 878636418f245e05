"""Blobs in pieces on disk: crashes at any point, rot, quota, what is kept."""

import errno
import hashlib
import os
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.blobs import Blobs, Full
from node.partial import BadBlob, Partial
from node.pieces import Pieces, Wanted, bits_of, indices_in, length_of, piece_count, pieces_of
from protocol.ids import Digest, digest_of
from protocol.messages import PIECE_BYTES

DATA = hashlib.shake_128(b"weights").digest(3 * PIECE_BYTES + 12_345)
LISTED = b"".join(
    hashlib.sha256(DATA[at : at + PIECE_BYTES]).digest() for at in range(0, len(DATA), PIECE_BYTES)
)
WANTED = Wanted(digest_of(DATA), len(DATA), digest_of(LISTED))
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)


def piece(index: int) -> bytes:
    return DATA[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]


def begun(directory: Path, *indices: int) -> tuple[Blobs, Partial]:
    """A blob of which these pieces have come."""
    blobs = Blobs(directory)
    partial = blobs.begin(WANTED)
    if partial.pieces is None:
        partial.learn(LISTED)
    for index in indices:
        assert partial.write(index, piece(index))
        partial.mark(index)
    return blobs, partial


@given(size=st.integers(0, 5 * PIECE_BYTES))
def test_pieces_cover_a_blob_exactly(size: int) -> None:
    lengths = [length_of(index, size) for index in range(piece_count(size))]
    assert sum(lengths) == size
    assert all(length == PIECE_BYTES for length in lengths[:-1])
    assert (size == 0) is (lengths[-1] == 0)


@given(count=st.integers(1, 70), data=st.data())
def test_bits_name_the_pieces(count: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, count - 1)))
    bits = bits_of(chosen, count)
    assert len(bits) == (count + 7) // 8
    assert set(indices_in(bits, count)) == chosen


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, len(DATA)])
def test_the_pieces_of_a_file_are_those_of_its_bytes(tmp_path: Path, size: int) -> None:
    (tmp_path / "blob").write_bytes(DATA[:size])
    found = pieces_of(tmp_path / "blob")
    assert (found.digest, found.size, found.count) == (digest_of(DATA[:size]), size, piece_count(size))
    assert found.name == (digest_of(found.listed) if size > PIECE_BYTES else None)
    assert found.is_right(0, DATA[: min(size, PIECE_BYTES)])


@SLOW
@given(order=st.permutations(range(4)))
def test_pieces_in_any_order_make_the_blob(tmp_path: Path, order: list[int]) -> None:
    blobs, partial = begun(tmp_path / "blobs")
    for come, index in enumerate(order):
        assert (partial.have, partial.has(index)) == (come, False)
        assert partial.write(index, piece(index))
        assert not partial.has(index), "nobody is told before it is on disk"
        partial.mark(index)
        assert partial.read(index) == piece(index)
    blobs.finish(partial)
    path = blobs.path_of(WANTED.digest)
    assert path is not None
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert blobs.pieces_of(WANTED.digest) == WANTED.pieces
    blobs.discard(WANTED.digest)


@SLOW
@given(
    come=st.sets(st.integers(0, 3)),
    cut=st.none() | st.integers(0, len(DATA)),
    flipped=st.none() | st.integers(0, len(DATA) - 1),
    has_list=st.booleans(),
)
def test_after_a_crash_at_any_point_what_is_right_is_kept_and_the_rest_comes_again(
    tmp_path: Path, come: set[int], cut: int | None, flipped: int | None, has_list: bool
) -> None:
    directory = tmp_path / str(len(list(tmp_path.iterdir())))
    begun(directory, *come)
    (part,) = [*directory.glob("*.part")] or [None]
    if part is not None:
        with part.open("r+b") as file:
            if flipped is not None:
                file.seek(flipped)
                file.write(bytes([DATA[flipped] ^ 0xFF]))
            if cut is not None:
                file.truncate(cut)
    if not has_list:
        (listed,) = directory.glob("*.pieces")
        listed.write_bytes(LISTED[:40])
    blobs, partial = begun(directory)
    assert {index for index in range(4) if partial.has(index)} <= come
    if has_list and cut is None and flipped is None:
        assert partial.missing() == set(range(4)) - come
    for index in partial.missing():
        assert partial.write(index, piece(index))
        partial.mark(index)
    blobs.finish(partial)
    assert blobs.verify(WANTED.digest)


def test_a_wrong_piece_is_not_taken(tmp_path: Path) -> None:
    _, partial = begun(tmp_path)
    assert not partial.write(1, piece(0))
    assert not partial.write(3, piece(3) + b"more")
    partial.mark(1)
    assert partial.missing() == {0, 1, 2, 3}


def test_pieces_that_are_not_those_of_the_digest_leave_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    partial = blobs.begin(Wanted(digest_of(b"another"), len(DATA), WANTED.pieces))
    partial.learn(LISTED)
    for index in range(4):
        assert partial.write(index, piece(index))
        partial.mark(index)
    with pytest.raises(BadBlob, match="its proposer named others"):
        blobs.finish(partial)
    assert not list(tmp_path.iterdir())


async def test_a_blob_that_rots_is_neither_served_nor_scored_after_a_restart(tmp_path: Path) -> None:
    before = Blobs(tmp_path)
    digests = [before.put(DATA), before.put(b"small"), before.put(b"whole")]
    assert all([await before.held(digest) for digest in digests])
    for digest, at in zip(digests[:2], (2_000_000, 0), strict=True):
        path = before.path_of(digest)
        assert path is not None
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"?")
    after = Blobs(tmp_path)
    assert [await after.held(digest) for digest in digests[:2]] == [None, None]
    held = await after.held(digests[2])
    assert held is not None
    assert held.read(0) == b"whole"
    assert [after.whole(digest) is not None for digest in digests] == [False, False, True]
    assert len(list(tmp_path.iterdir())) == 1, "what has rotted is gone, and can come again"


async def test_what_was_never_here_is_refused_without_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path)
    monkeypatch.setattr(Path, "is_file", lambda _: pytest.fail("it looked"))
    assert await blobs.held(digest_of(b"unknown")) is None


async def test_who_waits_for_more_is_told(tmp_path: Path) -> None:
    blobs, partial = begun(tmp_path)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(blobs.grown)
            await anyio.wait_all_tasks_blocked()
            blobs.share(partial)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(blobs.grown)
            await anyio.wait_all_tasks_blocked()
            assert partial.write(2, piece(2))
            partial.mark(2)
    assert await blobs.held(WANTED.digest) is partial


def test_the_quota_counts_what_is_still_to_come(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, quota=2 * len(DATA) + 1_000)
    partial = blobs.begin(WANTED)
    partial.learn(LISTED)
    assert partial.write(3, piece(3))
    partial.mark(3)
    assert len(DATA) <= blobs.used() < len(DATA) + 1_000
    other = Wanted(digest_of(b"other"), len(DATA) + 1_000, digest_of(b"list"))
    with pytest.raises(Full, match=r"raise `quota` under \[blobs\]"):
        blobs.begin(other)
    assert blobs.begin(WANTED).has(3), "what has begun goes on"
    assert blobs.doomed(frozenset()) != ()


def test_no_room_for_our_own_is_an_error_of_the_disk(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, quota=100)
    out = blobs.new_temp()
    out.write_bytes(bytes(101))
    with pytest.raises(OSError, match="no room"):
        blobs.keep(out)


def test_only_what_is_kept_survives(tmp_path: Path) -> None:
    blobs, _ = begun(tmp_path, 1)
    keep, gone, fresh = blobs.put(b"keep"), blobs.put(b"gone"), blobs.put(b"fresh")
    for digest in (keep, gone):
        blobs.release(digest)
    for file in blobs.doomed(frozenset({keep})):
        file.unlink()
    assert blobs.path_of(keep) is not None
    assert blobs.path_of(gone) is None
    assert blobs.path_of(fresh) is not None, "nobody can have asked for it yet"
    assert len(list(tmp_path.iterdir())) == 2, "the partial one went, and its list"
    assert {file.name for file in blobs.doomed(frozenset())} == {blobs.path_of(keep).name}  # type: ignore[union-attr]


def test_a_full_disk_loses_no_piece_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, partial = begun(tmp_path, 0, 2)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        partial.write(1, piece(1))
    monkeypatch.undo()
    again = blobs.begin(WANTED)
    assert again.missing() == {1, 3}


def test_settling_what_is_not_here_does_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.settle(digest_of(b"nothing"))
    blobs.settle(blobs.put(b"something"))


def test_a_list_is_accepted_only_as_it_was_named() -> None:
    assert WANTED.accepts(LISTED)
    assert not WANTED.accepts(LISTED[:-32])
    assert not WANTED.accepts(LISTED[32:] + LISTED[:32])
    assert WANTED.alone() is None
    small = Wanted(digest_of(b"small"), 5, None)
    alone = small.alone()
    assert isinstance(alone, Pieces)
    assert alone.is_right(0, b"small")
    assert alone.name is None
    assert Digest(small.digest) == alone.digest
