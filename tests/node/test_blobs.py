"""The content-addressed store."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.blobs import Blobs
from protocol.ids import Digest, digest_of


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(data=st.lists(st.binary(max_size=2_000), max_size=4))
def test_what_is_put_is_there_under_its_digest(tmp_path: Path, data: list[bytes]) -> None:
    blobs = Blobs(tmp_path / "blobs")
    for blob in data:
        digest = blobs.put(blob)
        assert digest == digest_of(blob)
        path = blobs.path_of(digest)
        assert path is not None
        assert path.read_bytes() == blob
        assert blobs.verify(digest)
    again = Blobs(tmp_path / "blobs")
    assert all(again.verify(digest_of(blob)) for blob in data)
    for blob in data:
        again.discard(digest_of(blob))
    assert files(tmp_path / "blobs") == []


def test_an_unknown_digest_is_not_there(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = digest_of(b"unknown")
    assert blobs.path_of(digest) is None
    assert not blobs.verify(digest)
    blobs.discard(digest)


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "x" * 43, "a" * 42, digest_of(b"") + "="])
def test_a_text_that_is_no_digest_never_becomes_a_path(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (base64 raises several messages)
        Blobs(tmp_path).path_of(Digest(text))


def test_names_do_not_need_a_case_sensitive_file_system(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    for n in range(20):
        blobs.put(bytes([n]))
    assert all(name == name.lower() and len(name) == 64 for name in files(tmp_path))


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "new" / "blobs")
    digest = blobs.put(b"private")
    path = blobs.path_of(digest)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(blobs.new_temp().stat().st_mode) == 0o600


def test_what_an_interrupted_transfer_left_is_removed_at_the_start(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"kept")
    blobs.new_temp().write_bytes(b"half a blo")
    again = Blobs(tmp_path)
    assert again.verify(digest)
    assert len(files(tmp_path)) == 1


def test_a_blob_that_rotted_is_found_and_can_be_replaced(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"sound")
    path = blobs.path_of(digest)
    assert path is not None
    path.write_bytes(b"rotten")
    assert not blobs.verify(digest)
    blobs.discard(digest)
    assert blobs.put(b"sound") == digest
    assert blobs.verify(digest)


def test_a_blob_that_has_rotted_is_noticed_and_removed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest, other = blobs.put(b"right"), blobs.put(b"other")
    assert blobs.whole(digest) == blobs.path_of(digest)
    path = blobs.path_of(digest)
    assert path is not None
    before = path.stat()
    path.write_bytes(b"wrong")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as on a disk that forgets
    assert blobs.whole(digest) is None
    assert blobs.path_of(digest) is None
    assert blobs.whole(other) is not None
    assert blobs.put(b"right") == digest
    assert blobs.whole(digest) is not None
