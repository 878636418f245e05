"""Files that are read up to a bound."""

import io
from pathlib import Path

import pytest

from ledger.files import read_bounded
from tests.fuzz.target import peak_of


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5_000_000])
def test_one_byte_more_than_the_limit_is_read(size: int) -> None:
    assert read_bounded(io.BytesIO(bytes(size)), 100) == bytes(min(size, 101))


def test_a_large_limit_takes_no_memory_that_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"small")
    with path.open("rb") as source:
        assert peak_of(lambda: read_bounded(source, 2**30)) < 2**22
