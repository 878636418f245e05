"""A client that speaks libp2p down to any layer and then says what it likes: strangers, and members that went bad."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_keys
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport

from protocol.ids import PeerId

MULTISTREAM, NOISE, YAMUX = b"/multistream/1.0.0\n", b"/noise\n", b"/yamux/1.0.0\n"
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
PATIENCE = 20.0


def line(text: bytes) -> bytes:
    """A line of multistream."""
    return bytes([len(text)]) + text


def yamux(kind: int, flags: int, stream: int, length: int, body: bytes = b"", version: int = 0) -> bytes:
    """A Yamux frame that says what it likes."""
    return struct.pack(">BBHII", version, kind, flags % 2**16, stream % 2**32, length % 2**32) + body


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    """A right data frame."""
    return yamux(DATA, flags, stream, len(body), body)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a node listens, and who it is."""

    port: int
    peer: PeerId

    async def knock(self, origin: int = 1) -> trio.SocketStream:
        """A TCP connection from 127.0.0.origin."""
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        await sock.bind((f"127.0.0.{origin}", 0))
        with trio.fail_after(PATIENCE):
            await sock.connect(("127.0.0.1", self.port))
        return trio.SocketStream(sock)


class Session:
    """A connection on which Noise is done: what is written is Yamux's, or what pretends to be."""

    def __init__(self, secured: object, socket: trio.SocketStream) -> None:
        self._secured = secured
        self.socket = socket

    async def write(self, raw: bytes) -> None:
        """Send bytes. Raises Exception when they are not taken any more."""
        with trio.fail_after(PATIENCE):
            await self._secured.write(raw)  # type: ignore[attr-defined]

    async def read(self, size: int | None = None) -> bytes:
        """What comes next, or exactly so many bytes; none when the other side has closed."""
        with trio.move_on_after(PATIENCE):
            try:
                return bytes(await self._secured.read(size))  # type: ignore[attr-defined]
            except Exception:  # noqa: BLE001  (libp2p has a dozen words for it: it is closed)
                return b""
        raise AssertionError("nothing comes, and it is not closed either")

    async def drain(self) -> int:
        """Read until the other side closes; how much that was."""
        total = 0
        while piece := await self.read():
            total += len(piece)
        return total

    async def settle(self) -> None:
        """Wait until the other side has taken in what was written, or has closed; a moment where it waits for more."""
        asked, seen = yamux(PING, SYN, 0, 0xBADCAFE), b""
        with trio.move_on_after(0.3), suppress(Exception):
            await self.write(asked)
            while yamux(PING, ACK, 0, 0xBADCAFE) not in seen:
                piece = await self.read()
                if not piece:
                    return
                seen = seen[-12:] + piece


async def said(stream: object, text: bytes) -> None:
    """Wait until the other side has said a line of multistream. Raises AssertionError, or what the stream does."""
    wanted, got = line(text), b""
    with trio.fail_after(PATIENCE):
        while len(got) < len(wanted):
            piece = await stream.read(len(wanted) - len(got))  # type: ignore[attr-defined]
            assert piece, "closed"
            got += piece
    assert got == wanted


@asynccontextmanager
async def secured(door: Door, secret: bytes, origin: int = 1) -> AsyncIterator[Session]:
    """Be somebody, and say so by Noise. Raises Exception when the other side does not let us in."""
    keys = create_new_key_pair(secret)
    socket = await door.knock(origin)
    try:
        raw = RawConnection(TrioTCPStream(socket), True)
        await raw.write(line(MULTISTREAM) + line(NOISE))
        await said(raw, MULTISTREAM)
        await said(raw, NOISE)
        noise = NoiseTransport(keys, noise_privkey=create_noise_keys().private_key)
        yield Session(await noise.secure_outbound(raw, ID.from_string(door.peer)), socket)
    finally:
        await trio.aclose_forcefully(socket)


@asynccontextmanager
async def muxed(door: Door, secret: bytes, origin: int = 1) -> AsyncIterator[Session]:
    """The same up to Yamux. Raises Exception when the other side does not let us in."""
    async with secured(door, secret, origin) as session:
        await session.write(line(MULTISTREAM) + line(YAMUX))
        await said(session, MULTISTREAM)
        await said(session, YAMUX)
        yield session


def opening(stream: int, protocol: bytes) -> bytes:
    """Open a stream and ask for a protocol."""
    return yamux(WINDOW, SYN, stream, 0) + data(stream, line(MULTISTREAM) + line(protocol + b"\n"))


async def is_let_in(door: Door, secret: bytes, origin: int = 1) -> bool:
    """Whether somebody gets as far as Yamux."""
    with suppress(Exception):
        async with muxed(door, secret, origin) as session:
            await session.write(yamux(PING, SYN, 0, 7))
            while piece := await session.read():
                if yamux(PING, ACK, 0, 7) in piece:
                    return True
    return False
