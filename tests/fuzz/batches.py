"""Batches of hostile inputs for a live node: each says how many inputs it made."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random

import trio

from tests.fuzz import hostile
from tests.fuzz.hostile import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    MULTISTREAM,
    NOISE,
    PING,
    RST,
    SYN,
    WINDOW,
    Door,
    Session,
)
from tests.fuzz.mutate import mutated

CONTROL, BLOB = b"/roundabout/control/1", b"/roundabout/blob/1"
AT_ONCE = 8

Batch = Callable[[Door, Random, int], Awaitable[int]]


async def together(count: int, one: Callable[[int], Awaitable[None]]) -> int:
    """Do something so many times, some at a time; what the other side refuses is none of our business."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def guarded(number: int) -> None:
        async with limit:
            with trio.move_on_after(hostile.PATIENCE), suppress(Exception):
                await one(number)

    async with trio.open_nursery() as tasks:
        for number in range(count):
            tasks.start_soon(guarded, number)
    return count


async def strangers(door: Door, random: Random, count: int) -> int:
    """Garbage on the port, at each stage of the handshake."""
    prefixes = (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        hostile.line(MULTISTREAM),
        hostile.line(MULTISTREAM) + hostile.line(b"ls\n"),
        hostile.line(MULTISTREAM) + hostile.line(NOISE),
        hostile.line(MULTISTREAM) + hostile.line(NOISE) + b"\0\x20" + random.randbytes(32),
        b"\xff\xff\xff\xff\x0f",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    )

    async def one(number: int) -> None:
        async with await door.knock(2 + number % 200) as knock:
            await knock.send_all(
                mutated(random, prefixes)[:4096] + random.randbytes(random.choice((0, 1, 60, 900)))
            )
            if number % 3:
                with trio.move_on_after(0.2):
                    while await knock.receive_some(4096):
                        pass

    return await together(count, one)


async def outsiders(door: Door, random: Random, count: int) -> int:
    """People with keys of their own, who are no members."""

    async def one(number: int) -> None:
        async with hostile.secured(door, random.randbytes(31) + b"\1", 2 + number % 200) as session:
            await session.write(random.randbytes(100))
            await session.drain()

    return await together(count, one)


def multiplexers(secrets: Sequence[bytes]) -> Batch:
    """Members whose Yamux has gone bad."""

    async def run(door: Door, random: Random, count: int) -> int:
        done = 0
        while done < count:
            with trio.move_on_after(hostile.PATIENCE), suppress(Exception):
                async with hostile.muxed(door, random.choice(secrets)) as session:
                    for _ in range(random.choice((5, 50))):
                        await session.write(_frame(random))
                        done += 1
                        if random.random() < 0.2:
                            await session.settle()
                    if random.random() < 0.8:
                        await session.settle()
            done += 1
        return done

    return run


def _frame(random: Random) -> bytes:
    stream = random.choice((0, 1, 2, 3, 5, 7, 9, 2**31, 2**32 - 1, random.randrange(2**32)))
    size = random.choice((0, 1, 100, 5_000, 65_536))
    said = random.choice((size, size, size, size + 1, 0, 2**20, 2**31, 2**32 - 1))
    match random.randrange(8):
        case 0:
            return hostile.opening(
                stream, random.choice((CONTROL, BLOB, b"/ipfs/id/1.0.0", b"\xff" * 20, b"ls"))
            )
        case 1:
            return hostile.yamux(DATA, SYN, stream, said, random.randbytes(size))
        case 2:
            flags = random.choice((SYN, ACK, FIN, RST, SYN | RST, SYN | FIN, 0xFFFF))
            return hostile.yamux(random.choice((DATA, WINDOW)), flags, stream, 0)
        case 3:
            return hostile.yamux(WINDOW, 0, stream, random.choice((0, 2**31, 2**32 - 1)))
        case 4:
            return hostile.yamux(PING, random.choice((SYN, ACK, 0)), 0, random.randrange(2**32)) * 20
        case 5:
            return random.randbytes(12)
        case 6 if random.random() < 0.1:
            return hostile.yamux(
                random.choice((GO_AWAY, 4, 255)), 0, 0, 1, version=random.choice((0, 1, 255))
            )
        case _:
            return hostile.data(stream, random.randbytes(size))


def talkers(secrets: Sequence[bytes], messages: Sequence[bytes]) -> Batch:
    """Members whose control streams carry what is almost a message; each is refused for a moment after it."""
    frames = [bytes(4), *(len(body).to_bytes(4, "big") + body for body in messages)]

    async def run(door: Door, random: Random, count: int) -> int:
        done = 0
        while done < count:
            with trio.move_on_after(hostile.PATIENCE), suppress(Exception):
                async with hostile.muxed(door, random.choice(secrets)) as session:
                    await session.write(hostile.opening(1, CONTROL) + hostile.data(1, bytes(4)))
                    for _ in range(random.choice((1, 5, 20))):
                        await _say(session, random, _almost(random, frames, messages))
                        done += 1
                        await session.settle()
            done += 1
            await trio.sleep(0.05)
        return done

    return run


def _almost(random: Random, frames: Sequence[bytes], messages: Sequence[bytes]) -> bytes:
    if random.random() < 0.3:
        return mutated(random, frames)
    body = mutated(random, messages)[:65_536]
    return len(body).to_bytes(4, "big") + body


async def _say(session: Session, random: Random, raw: bytes) -> None:
    """On stream 1: at once, in pieces, or a byte at a time."""
    size = random.choice((65_536, 65_536, 1_000, 1 if len(raw) < 500 else 65_536))
    for start in range(0, len(raw), size):
        await session.write(hostile.data(1, raw[start : start + size]))


def fetchers(secrets: Sequence[bytes], digests: Sequence[bytes]) -> Batch:
    """Members that ask for blobs: unknown ones, half a name, many at once, and then do not read, or go away."""

    async def run(door: Door, random: Random, count: int) -> int:
        done = 0
        while done < count:
            with trio.move_on_after(hostile.PATIENCE), suppress(Exception):
                async with hostile.muxed(door, random.choice(secrets)) as session:
                    for number in range(random.choice((4, 40, 100))):
                        name = random.choice((*digests, random.randbytes(32), random.randbytes(32)))
                        asked = name[: random.choice((32, 32, 32, 31, 0))] + bytes(random.choice((0, 0, 9)))
                        stream = 2 * number + 1
                        await session.write(hostile.opening(stream, BLOB) + hostile.data(stream, asked))
                        if random.random() < 0.5:
                            await session.write(hostile.yamux(WINDOW, random.choice((FIN, RST)), stream, 0))
                        done += 1
                        if random.random() < 0.2:
                            await session.settle()
                    if random.random() < 0.8:
                        await session.settle()
            done += 1
        return done

    return run
