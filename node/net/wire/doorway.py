"""From a socket to a stream of a member, bounded at every step.

    socket --Knock--> multistream --> Noise --a member?--> multistream --> Muxer --stream--> negotiated

Until Noise has told who it is, a connection has few bytes and little time, and waits at the gate. Libp2p itself
reads lines of any length, keeps what a peer sends beyond its window, and holds a place for every connection there was.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import libp2p.protocol_muxer.multiselect_communicator
import trio
from libp2p.abc import (
    IHost,
    IMuxedConn,
    INetConn,
    INetStream,
    INetwork,
    INotifee,
    IRawConnection,
    ISecureConn,
)
from libp2p.custom_types import StreamHandlerFn, THandler, TProtocol
from libp2p.exceptions import ParseError
from libp2p.io.abc import Reader, ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.transport.tcp.tcp import TCP, TCPListener
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from node.net.control import Limits
from node.net.exchange import Lost
from node.net.gate import Gate, origin_of
from node.net.wire.session import quickened
from protocol.ids import PeerId

MAX_HANDSHAKE = 16 * 1024
"""Bytes that a connection may send before its peer is known; Noise with our keys takes less than 1 KiB."""
MAX_LINE = 1_024
"""Bytes of a protocol's name."""
CONNECTIONS = 4
"""Connections of one peer: both may dial at once, and what is dead is not always noticed yet."""
MAX_OFFERS = 8
"""Protocols that a peer may ask for on one stream."""

_READ = 262_144
_SETTLING = 1.0
_CLOSING = 0.5
"""Seconds that closing may take before it is given up."""
_MULTISTREAM = "/multistream/1.0.0"
_NOT_THAT = "na"

log = logging.getLogger(__name__)


class Knock(ReadWriteCloser):
    """A socket's stream that may send little before its peer is known."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        self._stream = stream
        self._left: int | None = MAX_HANDSHAKE
        self.closed = trio.Event()
        self.on_known: Callable[[], None] = lambda: None

    def known(self) -> None:
        """Its peer is known and may come in."""
        self._left = None
        self.on_known()

    async def read(self, n: int | None = None) -> bytes:
        """Up to n bytes, and of a stranger never more than 256 KiB. Raises IOException when it says too much."""
        data = await self._stream.read(n if self._left is None else _READ if n is None else min(n, _READ))
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise IOException("sent too much before it said who it is")
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Close the socket."""
        self.closed.set()
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port at the other end."""
        return self._stream.get_remote_address()


class Porch(TCP):
    """TCP whose listeners pass a gate, and whose connections are knocks."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._gate: Gate[Knock] = Gate(limits.half_open, limits.knocks)

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Who answers is as unknown as who calls."""
        raw = await super().dial(maddr)
        assert isinstance(raw, RawConnection)
        raw.stream = Knock(raw.stream)
        return raw

    def create_listener(self, handler_function: THandler) -> TCPListener:
        """A listener that serves who gets through the gate."""

        async def serve(stream: ReadWriteCloser) -> None:
            await self._receive(Knock(stream), handler_function)

        return TCPListener(serve)

    async def _receive(self, knock: Knock, serve: THandler) -> None:
        address = knock.get_remote_address()
        origin = origin_of(address[0] if address else "")
        if self._gate.is_flooded(origin, trio.current_time()):
            return await knock.close()
        knock.on_known = lambda: self._gate.leave(knock)
        leaving = self._gate.enter(knock, origin)
        try:
            if leaving is not None:
                await leaving.close()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._see_off, knock, tasks.cancel_scope)
                await serve(knock)
                tasks.cancel_scope.cancel()
        finally:
            self._gate.leave(knock)
        return None

    async def _see_off(self, knock: Knock, scope: trio.CancelScope) -> None:
        """Libp2p would serve a connection that has ended until the host ends, and count it."""
        await knock.closed.wait()
        await trio.sleep(_SETTLING)  # it has accounts to settle
        scope.cancel()


class Noise(NoiseTransport):
    """Noise that lets nobody in but whom `may_enter` knows, and lifts the bounds of a stranger for those."""

    def __init__(self, keys: Any, noise_key: Any, may_enter: Callable[[PeerId], bool]) -> None:
        super().__init__(keys, noise_privkey=noise_key)
        self._may_enter = may_enter

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """Raises HandshakeFailure when the peer is not welcome."""
        secured = await super().secure_inbound(conn)
        if not self._may_enter(PeerId(str(secured.get_remote_peer()))):
            await secured.close()
            raise HandshakeFailure("is not welcome")
        _let_in(conn)
        return quickened(secured, conn)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        """Raises HandshakeFailure when another peer answers."""
        secured = await super().secure_outbound(conn, peer_id)
        _let_in(conn)
        return quickened(secured, conn)


def _let_in(conn: IRawConnection) -> None:
    if isinstance(conn, RawConnection) and isinstance(conn.stream, Knock):
        conn.stream.known()


class Doorkeeper(INotifee):
    """Closes connections of peers that are not welcome any more, and the oldest of those that have too many."""

    def __init__(self, is_welcome: Callable[[PeerId], bool]) -> None:
        self._is_welcome = is_welcome

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        who = conn.muxed_conn.peer_id
        if not self._is_welcome(PeerId(str(who))):
            await sever(conn.muxed_conn)
        for extra in network.get_connections(who)[:-CONNECTIONS]:
            await sever(extra.muxed_conn)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """The control stream notices by itself."""

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Handlers check membership themselves."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing is kept per stream."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Listening is awaited where it is asked for."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Listeners are closed by us."""


def without_gossip(host: IHost) -> None:
    """Take libp2p's own protocols away from a host: it serves none, and asks nobody to identify itself.

    What peers would say of themselves is a megabyte each time, parsed at once and kept; nobody here needs it.
    """
    host.get_mux().handlers.clear()
    host._schedule_identify = lambda *_, **__: None  # type: ignore[attr-defined]


def answered(host: IHost, patience: float) -> StreamHandlerFn:
    """What becomes of a stream that a peer opens: its protocol is agreed on within `patience` seconds, then served."""
    handlers = host.get_mux().handlers

    async def answer(stream: INetStream) -> None:
        handler = None
        with trio.move_on_after(patience):
            try:
                handler = await _negotiated(stream, handlers)
            except Exception as error:  # noqa: BLE001  (libp2p raises a dozen types: all mean it came to nothing)
                log.debug("a stream came to nothing: %s", error)
        if handler is None:
            await _reset(stream)
        else:
            await handler(stream)

    return answer


async def _reset(stream: INetStream) -> None:
    try:
        await stream.reset()
    except Exception as error:  # noqa: BLE001  (what leaves a handler kills the whole host)
        log.debug("a stream was gone before it was reset: %s", error)


async def _negotiated(
    stream: INetStream, handlers: Mapping[TProtocol | None, StreamHandlerFn | None]
) -> StreamHandlerFn:
    """The handler of the protocol that the peer asks for. Raises Lost, and what libp2p raises."""
    line = MultiselectCommunicator(stream)
    await line.write(_MULTISTREAM)
    if await line.read() != _MULTISTREAM:
        raise Lost("speaks no multistream")
    for _ in range(MAX_OFFERS):
        name = TProtocol(await line.read())
        handler: StreamHandlerFn | None = handlers.get(name)
        if handler is not None:
            await line.write(name)
            return handler
        await line.write(_NOT_THAT)
    raise Lost(f"offered {MAX_OFFERS} protocols, none of ours")


async def _read_line(reader: Reader) -> bytes:
    """One line of multistream. Raises ParseError, IOException."""
    line = await read_varint_prefixed_bytes_limited(reader, MAX_LINE)
    if not line.endswith(b"\n") or not line.isascii():
        raise ParseError("no line of multistream")
    return line[:-1]


async def sever(connection: IMuxedConn) -> None:
    """Close the socket itself: the polite way writes first, and waits for ever on a frozen peer."""
    with anyio.move_on_after(_CLOSING, shield=True):
        try:
            await connection.secured_conn.close()  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001  (it is gone already, which is what was wanted)
            log.debug("a connection was gone before it was closed: %s", cause(error))


async def forget(host: IHost, who: ID, but: IMuxedConn | None = None) -> None:
    """Close the connections to a peer that there are now; the peer may be making another meanwhile."""
    network = host.get_network()
    async with trio.open_nursery() as nursery:
        for connection in network.get_connections(who):
            if connection.muxed_conn is not but:
                # Libp2p would hand the dead connection out for a while.
                network.remove_conn(connection)  # type: ignore[attr-defined]
                nursery.start_soon(sever, connection.muxed_conn)


async def shut(host: IHost) -> None:
    """Close what libp2p leaves open when a host ends: connections, and listeners that would keep the port."""
    with anyio.move_on_after(_CLOSING, shield=True):
        async with trio.open_nursery() as nursery:
            for connection in host.get_network().get_connections():
                nursery.start_soon(sever, connection.muxed_conn)
        for listener in host.get_network().listeners.values():
            await listener.close()


def cause(error: BaseException) -> str:
    """What went wrong, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split()) or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from."""
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else getattr(error, "errors", ())
    for origin in filter(None, (*inner, error.__cause__, error.__context__)):
        yield from causes(origin)


# Libp2p has no other way to say so: it reads lines of any length.
libp2p.protocol_muxer.multiselect_communicator.read_delim = _read_line  # type: ignore[attr-defined]
