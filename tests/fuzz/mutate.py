"""Inputs that are almost right: seeds with their bytes, their lines and their JSON bent."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.target import MAX_INPUT

ODD_BYTES = (b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\r\n", b"\x1b[2J", b"\x7f")
ODD_JSON: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"0", b"1.0", b"1e3", b"1E400", b"-0", b"NaN", b"Infinity", b"01", b"9007199254740991",
    b"9007199254740992", b"9" * 25, b"9" * 5_000, b"1" + b"0" * 400, b"-9223372036854775809", b'""', b'"\\ud800"',
    b'"\\u0000"', b'"\xed\xa0\x80"', b'"' + b"A" * 70_000 + b'"', b"[]", b"{}", b"[" * 300 + b"]" * 300,
    b'{"a":' * 200 + b"1" + b"}" * 200, b"[" * 60_000, b'{"":0}', b'{"a":1,"a":2}',
    b"[0," * 5_000 + b"0" + b"]" * 5_000,
)  # fmt: skip
_MARK = "\ue000"
"""Stands for the place of an odd value until the JSON is text."""


def mutated(random: Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds after up to six changes; sometimes unchanged."""
    data = random.choice(seeds)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        data = random.choice(_CHANGES)(random, data, seeds, words)[:MAX_INPUT]
    return data


def _flip(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 20)) + data[end:]


def _splice(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _insert(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    part = random.choice((*words, *ODD_BYTES, random.randbytes(random.choice((1, 4, 32)))))
    return data[:at] + part + data[at + random.choice((0, len(part))) :]


def _number(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Some bytes become an extreme integer, of either endianness."""
    size = random.choice((1, 2, 4, 8))
    value = random.choice(
        (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, len(data))
    )
    at = random.randint(0, len(data))
    raw = (value % 2 ** (8 * size)).to_bytes(size, random.choice(("big", "little")))
    return data[:at] + raw + data[at + size :]


def _lines(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Lines in another order, doubled, or lost."""
    lines = data.split(b"\n")
    for _ in range(random.choice((1, 3))):
        a, b = random.randrange(len(lines)), random.randrange(len(lines))
        lines[a], lines[b] = random.choice(((lines[b], lines[a]), (lines[a], lines[a]), (lines[b], b"")))
    return b"\n".join(lines)


def _json(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One value somewhere in a line of JSON becomes odd, is lost, doubled, or swapped with another."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    try:
        value = json.loads(lines[at])
    except (ValueError, RecursionError):
        return _insert(random, data, seeds, words)
    places = list(_places(value))
    if not places:
        return _insert(random, data, seeds, words)
    box, key = random.choice(places)
    odd = b"0"
    match random.randrange(5):
        case 0:
            del box[key]
        case 1:
            other, there = random.choice(places)
            box[key] = other[there]
        case 2 if isinstance(box, dict):
            box[random.choice(("p", "op", "v", "extra", key + "x", ""))] = box[key]
        case 3 if isinstance(box[key], int):
            box[key] += random.choice((-1, 1, 2**31, 10**9))
        case _:
            box[key] = _MARK
            odd = random.choice(ODD_JSON)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # a cycle, or a lone surrogate
        return data
    lines[at] = text.replace(f'"{_MARK}"'.encode(), odd)
    return b"\n".join(lines)


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < 2_000:
        box = waiting.pop()
        keys = list(box) if isinstance(box, dict) else range(len(box)) if isinstance(box, list) else ()
        found += [(box, key) for key in keys]
        waiting += [box[key] for key in keys]
    return found


_CHANGES = (_flip, _cut, _repeat, _splice, _insert, _number, _lines, _json, _json, _json, _json)
