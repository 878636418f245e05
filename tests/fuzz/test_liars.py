"""A peer that lies about its blobs, and one that says almost the right things, thousands of times, to a real wire."""

import hashlib
from contextlib import suppress
from pathlib import Path
from random import Random

import anyio
import anyio.lowlevel
import pytest
import trio

from node.blobs import Blobs
from node.identity import identity_of
from node.net.control import Limits
from node.net.exchange import ANSWER, REQUEST, Lost
from node.net.mesh import BLOB, Channel
from node.net.transport import MAX_FRAME, Connected, Disconnected, FetchFailed, Frame
from node.net.wire.host import open_wire
from node.pieces import Wanted
from protocol.errors import Invalid
from protocol.ids import PeerId, digest_of
from protocol.messages import parse_message
from tests.fuzz.batches import talkers
from tests.fuzz.hostile import Door
from tests.fuzz.topic_targets import message_seeds
from tests.node.test_transport_contract import fetched

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
NODE, LIAR = (identity_of(hashlib.sha256(f"liar {n}".encode()).digest()) for n in range(2))
DATA = bytes(range(256)) * 40
LIMITS = Limits(ping=0.1, piece=0.5, stall=1.0, arrivals=10_000.0, knocks=10_000.0, refusal=0.01)


def lies(random: Random) -> list[bytes]:
    """Answers to a request for DATA, none of which is right; the last one never ends."""
    right = ANSWER.pack(0, len(DATA))
    changed = bytearray(DATA)
    changed[random.randrange(len(DATA))] ^= 1 << random.randrange(8)
    return [
        b"",
        random.randbytes(random.randrange(1, 60)),
        ANSWER.pack(1, 0),
        b"\2" + right[1:] + DATA,
        right[: random.randrange(len(right))],
        right + DATA[: random.randrange(len(DATA))],
        right + bytes(changed),
        ANSWER.pack(0, len(DATA) + random.choice((-1, 1))) + DATA,
        ANSWER.pack(0, 2**32 - 1) + DATA,
        ANSWER.pack(0, 0),
        right + bytes(changed) + random.randbytes(200_000),
    ]


class Script:
    """What the liar answers next."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.answered = 0

    async def serve(self, channel: Channel) -> None:
        """Hear half of the request or all of it, answer, and break off in one way or another."""
        random = self._random
        await channel.read(random.choice((1, REQUEST.size)), 1.0)
        self.answered += 1
        answer = random.choice(lies(random))
        size = random.choice((7, 65_536))
        with suppress(Lost):
            for start in range(0, min(len(answer), size * 200), size):
                await channel.write(answer[start : start + size])
            await (channel.finish() if random.random() < 0.5 else channel.reset())


async def run_lies(directory: Path, count: int) -> None:
    known: dict[PeerId, str] = {}
    script = Script(Random(count))
    async with (
        open_wire(NODE.secret, ANYWHERE, {}, Blobs(directory / "node"), LIMITS) as node,
        open_wire(LIAR.secret, ANYWHERE, known, Blobs(directory / "liar"), LIMITS) as liar,
    ):
        known[node.peer] = node.address
        liar.on_blob = script.serve  # type: ignore[method-assign]
        host = liar._dialler._host()  # type: ignore[attr-defined]
        host.set_stream_handler(BLOB, liar._dialler._guarded(host, script.serve))  # type: ignore[attr-defined]
        node.admit(frozenset({LIAR.peer}))
        liar.admit(frozenset({NODE.peer}))
        assert await anext(node.inbound()) == Connected(LIAR.peer)
        wanted = Wanted(digest_of(DATA), len(DATA), None)
        while script.answered < count:
            with pytest.raises(FetchFailed):
                await fetched(node, Blobs(directory / "node"), (LIAR.peer,), wanted)
            await anyio.lowlevel.checkpoint()  # to fail at once takes no turn of the scheduler
        assert node.send(LIAR.peer, b"the control stream lives")


def test_lies_about_blobs_leave_nothing_behind(tmp_path: Path) -> None:
    trio.run(run_lies, tmp_path, 60)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_lies_about_blobs(tmp_path: Path) -> None:
    trio.run(run_lies, tmp_path, 3_000)


async def run_talk(directory: Path, count: int) -> int:
    """What a member says that went bad; how many frames of it came through."""
    came = 0
    async with open_wire(NODE.secret, ANYWHERE, {}, Blobs(directory), LIMITS) as node:
        node.admit(frozenset({LIAR.peer}))

        async def listen() -> None:
            nonlocal came
            async for item in node.inbound():
                assert item.peer == LIAR.peer
                if isinstance(item, Frame):
                    came += 1
                    assert 1 <= len(item.body) <= MAX_FRAME
                    with suppress(Invalid):
                        parse_message(item.body)
                else:
                    assert isinstance(item, Connected | Disconnected)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            door = Door(int(node.address.rsplit("/", 1)[1]), node.peer)
            assert await talkers([LIAR.secret], message_seeds())(door, Random(count), count) >= count
            tasks.cancel_scope.cancel()
    return came


def test_what_is_almost_a_frame_comes_through_whole_or_not_at_all(tmp_path: Path) -> None:
    assert trio.run(run_talk, tmp_path, 200) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_what_is_almost_a_frame(tmp_path: Path) -> None:
    assert trio.run(run_talk, tmp_path, 5_000) > 500
