"""What a fuzz target is, and what may be said of a refusal."""

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

T = TypeVar("T")

MAX_INPUT = 128 * 1024
"""Bytes of the longest input that is tried: twice the largest message."""
MAX_LINE = 1_000
"""Characters of the longest error that is shown to people, without the path of the file."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test."""

    name: str
    run: Callable[[bytes], None]
    """Feeds it one input; an AssertionError, or any error that is not declared, is a finding."""
    seeds: Callable[[], list[bytes]]
    """Valid inputs to begin from."""
    words: tuple[bytes, ...] = ()
    """What an input of this kind may contain."""
    weight: float = 1.0
    """Its part of a long run, relative to others: less for parsers that are slow by nature."""


def check_line(error: Exception, path: Path | None = None) -> None:
    """An error for people is one printable line of bounded length, and has neither chosen line breaks nor escapes."""
    text = str(error)
    if path is not None:
        text = text.replace(str(path), "")
    assert text.isprintable(), f"not one printable line: {text!r}"
    assert len(text) <= MAX_LINE, f"{len(text)} characters: {text[:200]!r}..."
    assert text, "says nothing"


def workplace() -> Path:
    """A folder for targets that read files; in memory where there is such a place, and gone with the process."""
    return Path(_folder().name)


@cache
def _folder() -> "TemporaryDirectory[str]":
    memory = Path("/dev/shm")
    return TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)


def file_with(name: str, data: bytes) -> Path:
    """A private file of this content, the same path every time."""
    path = workplace() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; one event loop serves all inputs."""
    return _loop().run_until_complete(work)


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes that Python held at a time for some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
