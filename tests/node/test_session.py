"""Our end of a Noise session: what libp2p's end seals it opens, and the other way round, however the bytes arrive."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from noise.connection import Keypair, NoiseConnection

from node.net.wire.session import MAX_PLAIN, Session


class Raw:
    """A socket that hands out what was written to it in parts of a certain size."""

    def __init__(self, part: int = 1 << 20) -> None:
        self.data = b""
        self.part = part

    async def write(self, data: bytes) -> None:
        self.data += data

    async def read(self, n: int | None = None) -> bytes:
        count = self.part if n is None else min(n, self.part)
        data, self.data = self.data[:count], self.data[count:]
        return data


def ends(raw: Raw) -> tuple[SecureSession, SecureSession, Session, Session]:
    """Both ends of one session, as libp2p's and as ours; all write to, and read from, one socket."""
    states = []
    for number in range(2):
        state = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
        state.set_keypair_from_private_bytes(Keypair.STATIC, bytes([number + 1]) * 32)
        (state.set_as_responder if number else state.set_as_initiator)()
        state.start_handshake()
        states.append(state)
    for turn in range(3):
        states[(turn + 1) % 2].read_message(bytes(states[turn % 2].write_message()))
    theirs = [session_of(state, raw) for state in states]
    return theirs[0], theirs[1], Session(theirs[0], raw), Session(theirs[1], raw)  # type: ignore[arg-type]


def session_of(state: NoiseConnection, raw: Raw) -> SecureSession:
    some: Any = SimpleNamespace()
    conn = NoiseTransportReadWriter(raw, state)  # type: ignore[arg-type]
    return SecureSession(
        local_peer=some,
        local_private_key=some,
        remote_peer=some,
        remote_permanent_pubkey=some,
        is_initiator=True,
        conn=conn,
    )


async def exactly(session: SecureSession, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await session.read(count - len(data))
    return data


SIZES = st.lists(st.integers(1, 3 * MAX_PLAIN), min_size=1, max_size=4)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, part=st.integers(1_000, 200_000), is_ours_writing=st.booleans())
def test_libp2p_s_end_and_ours_understand_each_other(
    sizes: list[int], part: int, is_ours_writing: bool
) -> None:
    async def main() -> None:
        raw = Raw(part)
        first, second, our_first, our_second = ends(raw)
        writer, reader = (our_first, second) if is_ours_writing else (first, our_second)
        sent = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
        for data in sent:
            await writer.write(data)
        assert [await exactly(reader, len(data)) for data in sent] == sent

    trio.run(main)


def test_what_was_tampered_with_ends_the_connection() -> None:
    async def main() -> None:
        raw = Raw()
        _, _, one, other = ends(raw)
        await one.write(b"right")
        raw.data = raw.data[:-1] + bytes([raw.data[-1] ^ 1])
        with pytest.raises(ConnectionClosedError, match="tampered"):
            await other.read(5)

    trio.run(main)


def test_the_end_of_a_connection_gives_what_came_before_it() -> None:
    async def main() -> None:
        _, _, one, other = ends(Raw())
        await one.write(b"abc")
        assert await other.read(10) == b"abc"
        with pytest.raises(ConnectionClosedError):
            await other.read(1)

    trio.run(main)
