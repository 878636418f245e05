"""The transport over libp2p: a host that is supervised, and what the mesh needs of it.

Runs on trio alone, as libp2p does.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
import libp2p.network.swarm
import trio
from anyio.abc import TaskStatus
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_keys
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.rcmgr import ResourceManager
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.security_multistream import SecurityMultistream
from libp2p.stream_muxer.yamux.yamux import YamuxStream
from multiaddr import Multiaddr
from multiaddr.protocols import P_P2P

from node.net.addresses import AddressBook, Finder, own_scopes
from node.net.control import Limits
from node.net.dialling import Addresses
from node.net.exchange import Lost
from node.net.listening import bind_failure
from node.net.mesh import BLOB, CONTROL, Channel, Mesh, Traffic
from node.net.transport import BlobSource
from node.net.wire.doorway import (
    Doorkeeper,
    Noise,
    Porch,
    answered,
    cause,
    causes,
    forget,
    sever,
    shut,
    without_gossip,
)
from node.net.wire.lean import Eager
from node.net.wire.muxer import YAMUX, Muxer
from protocol.ids import PeerId

Wire = Mesh
"""What `open_wire` yields."""

_DIALS = 1024
"""Dials under way at once: more than there can be peers."""

log = logging.getLogger(__name__)


class WireError(Exception):
    """The wire could not be opened; the message names cause and remedy."""


class OtherPeer(Lost):
    """Another peer answers."""


class Pipe:
    """A libp2p stream whose many ways to fail are one: Lost."""

    def __init__(self, host: IHost, stream: INetStream, stall: float, traffic: Traffic) -> None:
        self._host = host
        self._stream = stream
        self._stream._state_lock = Eager()  # type: ignore[attr-defined]
        self._stall = stall
        self._traffic = traffic
        self._peer = PeerId(str(stream.muxed_conn.peer_id))
        assert isinstance(stream.muxed_conn, Muxer)
        self._muxer: Muxer = stream.muxed_conn
        # Past libp2p's own stream, which takes locks and steps for each call; it still opens, closes and resets.
        self._muxed: YamuxStream = stream.muxed_stream  # type: ignore[attr-defined]

    @property
    def peer(self) -> PeerId:
        """Who is at the other end, as Noise has proved."""
        return self._peer

    async def read(self, limit: int, within: float) -> bytes:
        """Up to `limit` bytes, b"" at the end. Raises Lost, also when nothing came `within` seconds."""
        with anyio.move_on_after(within):
            try:
                data = await self._muxer.read_some(self._muxed, limit)
                self._traffic.received[self._peer] += len(data)
                return data
            except Exception as error:  # Libp2p raises a dozen types: all mean the stream is gone.
                raise Lost(cause(error)) from error
        raise Lost(f"sent nothing for {within:g} s")

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises Lost, also when the peer does not take it within the stall time."""
        with anyio.move_on_after(self._stall):
            try:
                await self._muxer.write_all(self._muxed, data)
                self._traffic.sent[self._peer] += len(data)
                return
            except trio.Cancelled:
                # Half a Noise message may be on its way: nothing readable can follow it on this connection.
                await self.abort()
                raise
            except Exception as error:  # As in read.
                raise Lost(cause(error)) from error
        raise Lost(f"took nothing for {self._stall:g} s")

    async def finish(self) -> None:
        """Say that nothing more will be sent; what was sent still arrives. Raises Lost."""
        await self._end(self._stream.close)

    async def reset(self) -> None:
        """Give the stream up, both ways; the connection stays."""
        with suppress(Lost):
            await self._end(self._stream.reset)

    async def _end(self, end: Callable[[], Awaitable[None]]) -> None:
        # Shielded, because it writes: see `write`.
        with anyio.move_on_after(self._stall, shield=True):
            try:
                return await end()
            except Exception as error:  # As in read.
                raise Lost(cause(error)) from error
        await self.abort()
        raise Lost(f"took nothing for {self._stall:g} s")

    def is_beside(self, other: Self) -> bool:
        """Whether both are streams of the same connection."""
        return self._stream.muxed_conn is other._stream.muxed_conn

    async def keep_alone(self) -> None:
        """Close the peer's other connections, at once and without asking the peer."""
        mine = self._stream.muxed_conn
        await forget(self._host, mine.peer_id, but=mine)

    async def abort(self) -> None:
        """Close the connection under the stream, at once and without asking the peer."""
        await sever(self._stream.muxed_conn)


class Host:
    """A libp2p host that is replaced by a new one with the same key and port whenever it dies; a Dialler."""

    def __init__(self, secret: bytes, listen: Multiaddr, limits: Limits) -> None:
        self._keys = create_new_key_pair(secret)
        self._listen = listen
        self._limits = limits
        self.traffic = Traffic()
        self._running: IHost | None = None

    @property
    def peer(self) -> PeerId:
        """The peer id of the key."""
        return PeerId(str(ID.from_pubkey(self._keys.public_key)))

    @property
    def address(self) -> str:
        """The multiaddr it listens on, with the real port once it runs."""
        return str(self._listen)

    async def dial(self, peer: PeerId, address: str) -> None:
        """Replace whatever connections there are to a peer by a fresh one. Raises Lost."""
        host = self._host()
        with anyio.move_on_after(self._limits.dial):
            try:
                who, where = ID.from_string(peer), _tcp_address(address)
                await forget(host, who)
                # One address only: identify adds others, and libp2p would dial them side by side.
                host.get_peerstore().clear_addrs(who)
                host.get_network().unblock_peer(who)  # type: ignore[attr-defined]
                return await host.connect(PeerInfo(who, [where]))
            except Exception as error:  # A peer that cannot be dialled must not stop the node.
                raise Lost(cause(error)) from error
        raise Lost(f"did not answer for {self._limits.dial:g} s")

    async def open(self, peer: PeerId, protocol: str) -> Pipe:
        """A new stream on the connection there is. Raises Lost."""
        host, who = self._host(), ID.from_string(peer)
        if not host.get_network().get_connections(who):
            raise Lost("not connected")
        with anyio.move_on_after(self._limits.dial):
            try:
                stream = await host.new_stream(who, [TProtocol(protocol)])
                return Pipe(host, stream, self._limits.stall, self.traffic)
            except Exception as error:  # As in dial.
                raise Lost(cause(error)) from error
        await forget(host, who)
        raise Lost(f"opened no stream for {self._limits.dial:g} s")

    async def hang_up(self, peer: PeerId) -> None:
        """Close whatever connections there are to a peer, at once and without asking it."""
        if self._running is not None:
            await forget(self._running, ID.from_string(peer))

    async def run(self, mesh: Mesh, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled, again whenever libp2p dies. Raises WireError when it cannot at first."""
        pause, is_first = self._limits.retry, True
        while True:
            host = self._new_host(mesh)
            try:
                async with host.run([self._listen]):
                    try:
                        self._on_listening(host)
                        # It dials whomever identify told it of; the mesh alone says who dials whom.
                        await host.get_network().auto_connector.stop()  # type: ignore[attr-defined]
                        if is_first:
                            task_status.started()
                        pause, is_first = self._limits.retry, False
                        await trio.sleep_forever()
                    finally:
                        self._running = None
                        await shut(host)
            except Exception as error:  # A peer's bad input escapes from libp2p's own tasks.
                if is_first:
                    raise
                log.error("libp2p's host died, starting another: %s", cause(error))
            mesh.on_collapse("the local libp2p host died")
            await trio.sleep(pause)
            pause = min(2 * pause, self._limits.retry_most)

    def _host(self) -> IHost:
        if self._running is None:
            raise Lost("the local libp2p host is being restarted")
        return self._running

    def _on_listening(self, host: IHost) -> None:
        addresses = host.get_transport_addrs()
        if not addresses:
            raise WireError(f"cannot listen on {self._listen}: choose an address of this machine")
        self._listen = addresses[0]
        self._running = host

    def _new_host(self, mesh: Mesh) -> IHost:
        limits = self._limits
        host = new_host(
            key_pair=self._keys,
            # The defaults also accept plaintext, and Mplex.
            sec_opt={NOISE: Noise(self._keys, create_noise_keys().private_key, mesh.may_arrive)},
            muxer_opt={YAMUX: Muxer},
            transports=[Porch(limits)],
            listen_addrs=[self._listen],
            connection_config=ConnectionConfig(inbound_upgrade_timeout=limits.handshake),
            # The breaker and the degradation would let one stranger close the node to everybody for a minute, and
            # each refusal by the tracker costs a place for ever: the gate and the doorkeeper keep the counts.
            resource_manager=ResourceManager(
                enable_circuit_breaker=False,
                enable_graceful_degradation=False,
                enable_connection_tracking=False,
                enable_rate_limiting=False,
            ),
        )
        without_gossip(host)
        network = host.get_network()
        # We have a back-off of our own; libp2p would knock four times for each of our dials.
        network.retry_config = RetryConfig(max_retries=0)  # type: ignore[attr-defined]
        # Each peer is dialled by one task: so many that do not answer must not keep the others waiting.
        network._global_dial_limiter.total_tokens = _DIALS  # type: ignore[attr-defined]
        host.set_stream_handler(TProtocol(CONTROL), self._guarded(host, mesh.on_control))
        host.set_stream_handler(TProtocol(BLOB), self._guarded(host, mesh.on_blob))
        network.set_stream_handler(answered(host, limits.dial))
        network.register_notifee(Doorkeeper(mesh.is_welcome))
        return host

    def _guarded(self, host: IHost, serve: Callable[[Channel], Awaitable[None]]) -> StreamHandlerFn:
        async def handler(stream: INetStream) -> None:
            pipe = Pipe(host, stream, self._limits.stall, self.traffic)
            try:
                await serve(pipe)
            except Lost as lost:
                log.debug("a stream of %s ended: %s", pipe.peer, lost, extra={"remote": pipe.peer})
                await pipe.reset()
            except Exception:  # What leaves a handler kills the whole libp2p host.
                log.exception("a stream of %s failed", pipe.peer)
                await pipe.reset()

        return handler


def _tcp_address(text: str) -> Multiaddr:
    """A multiaddr such as /ip4/127.0.0.1/tcp/4101, a trailing /p2p/… left off. Raises ValueError."""
    address = Multiaddr(text)
    names = [protocol.name for protocol in address.protocols()]
    if names[2:] == ["p2p"]:
        address = address.decapsulate_code(P_P2P)
        names.pop()
    if len(names) != 2 or names[0] not in {"ip4", "ip6", "dns", "dns4", "dns6"} or names[1] != "tcp":
        raise ValueError(f"{text} is not of the form /ip4/127.0.0.1/tcp/4101")
    return address


def _refuse_taken(address: Multiaddr) -> None:
    """Raise WireError when somebody listens there: libp2p shares ports, two nodes would split the peers."""
    protocol = address.protocols()[0].name
    host, port = address.value_for_protocol(protocol), int(address.value_for_protocol("tcp") or 0)
    error = bind_failure(str(host), port, protocol == "ip6")
    if error is not None:
        remedy = "stop the other node or choose another listen address"
        raise WireError(f"cannot listen on {address}: {error.strerror}; {remedy}") from error


@asynccontextmanager
async def open_wire(
    secret: bytes,
    listen: str,
    addresses: Addresses,
    blobs: BlobSource,
    limits: Limits | None = None,
    book: AddressBook | None = None,
    finders: Iterable[Finder] = (),
) -> AsyncGenerator[Wire, None]:
    """Open a node's end of the network, and close it with everything that it started.

    secret: the 32 bytes of a secp256k1 key. listen: a multiaddr, such as /ip4/127.0.0.1/tcp/0.
    addresses: where peers listen (multiaddrs), as far as it is known; nobody is admitted before `admit`.
    book, finders: where else peers are found.
    Raises WireError when it cannot listen.
    """
    try:
        address = _tcp_address(listen)
    except ValueError as error:
        raise WireError(f"cannot listen: {error}") from error
    _refuse_taken(address)
    limits = limits or Limits()
    host = Host(secret, address, limits)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        mesh = Mesh(host, addresses, blobs, limits, tasks, book or AddressBook(own_scopes([listen])))
        try:
            await tasks.start(host.run, mesh)
            for finder in finders:
                tasks.start_soon(finder.run, host.peer, host.address, mesh.on_sighting)
            yield mesh
        except Exception as error:  # noqa: BLE001  (raised again below: a task group would wrap it in another)
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def probe(peer: PeerId, address: str, within: float) -> None:
    """Make sure that a peer is at an address, `within` seconds, by Noise alone: it lets no stranger further in.

    Raises Lost, OtherPeer.
    """
    noise = Noise(
        create_new_key_pair(secrets.token_bytes(32)), create_noise_keys().private_key, lambda _: False
    )
    try:
        with anyio.move_on_after(within):
            raw = await Porch(Limits()).dial(_tcp_address(address))
            try:
                await SecurityMultistream({NOISE: noise}).secure_outbound(raw, ID.from_string(peer))
            finally:
                await raw.close()
            return
    except Exception as error:  # As in dial.
        is_other = any(isinstance(cause, PeerIDMismatchesPubkey) for cause in causes(error))
        raise (OtherPeer if is_other else Lost)(cause(error)) from error
    raise Lost(f"did not answer for {within:g} s")


# libp2p waits so long for a second address before it believes in the first; members have one.
libp2p.network.swarm._HAPPY_EYEBALLS_DELAY = 0.02
# It reports every lost connection; what matters is told here.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
