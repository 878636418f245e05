"""The localnet as a service: one directory, one event loop, three faces on 127.0.0.1."""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import hypercorn.asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypercorn.config import Config

from ledger.localnet import hapi_service, mirror_service
from ledger.localnet.behaviour import Behaviour
from ledger.localnet.description import DESCRIPTION, Description
from ledger.localnet.errors import LocalnetError
from ledger.localnet.fees import FeeSchedule, default_prices
from ledger.localnet.files import held_directory, write_private
from ledger.localnet.hapi_service import HapiService
from ledger.localnet.journal import Genesis, Journal
from ledger.localnet.mirror_service import MirrorService
from ledger.localnet.network import LocalNetwork
from ledger.localnet.rest import MirrorRest
from ledger.localnet.state import NODES, OPERATOR

HOST = "127.0.0.1"
NETWORK = "localnet"
OPERATOR_KEY = "operator.key"
JOURNAL = "journal"

MORE_NODE_PORTS = tuple(range(50213, 50213 + len(NODES) - 1))
"""50212 is where the public nodes have TLS; the localnet has none."""

MAX_CALLS = 256
"""gRPC calls in progress on a server, subscriptions included; more are answered with RESOURCE_EXHAUSTED."""
GRACE_S = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the faces listen on 127.0.0.1; 0 takes a free port. The defaults are the SDKs' local presets."""

    consensus: tuple[int, ...] = (50211, 35211)
    """Of the first node."""
    mirror_grpc: int = 5600
    mirror_rest: tuple[int, ...] = (5551, 38081)
    more_nodes: tuple[int, ...] = ()
    """One port for each node after the first."""

    @classmethod
    def preset(cls, nodes: int = 1) -> "Ports":
        """The SDKs' local presets for the first node, and ports next to them for the others."""
        return cls(more_nodes=MORE_NODE_PORTS[: nodes - 1])

    @classmethod
    def ephemeral(cls, nodes: int = 1) -> "Ports":
        """Any free ports, one a face and a node."""
        return cls(consensus=(0,), mirror_grpc=0, mirror_rest=(0,), more_nodes=(0,) * (nodes - 1))


async def serve(
    directory: Path,
    ports: Ports,
    *,
    behaviour: Behaviour | None = None,
    prices: str | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Run the network whose ledger is in a directory until cancelled; `ready` is called once it serves.

    Begins a new ledger where there is none, with `prices`, TOML, where they are given. Raises LocalnetError
    when it cannot run or must stop.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(held_directory(directory))
        (directory / DESCRIPTION).unlink(missing_ok=True)  # of a process that was killed
        key = _operator_key(directory)
        if prices is not None:
            FeeSchedule.parse(prices)
        genesis = Genesis(time.time_ns(), key.public_key().public_bytes_raw(), prices or default_prices())
        journal = stack.enter_context(Journal(directory / JOURNAL, genesis))
        if journal.genesis.operator_key != genesis.operator_key:
            raise LocalnetError(
                f"{directory / OPERATOR_KEY} is not this ledger's: restore it, or begin elsewhere"
            )
        if prices is not None and journal.genesis.fees != prices:
            raise LocalnetError(
                f"{directory} holds a ledger with other prices: start it without --fees, or begin elsewhere"
            )
        if journal.torn_bytes:
            _log.warning("cut %d bytes of an unfinished write off the journal", journal.torn_bytes)
        network = LocalNetwork(journal, time.time_ns, behaviour)
        bound = await stack.enter_async_context(_listening(network, ports))
        rest = await stack.enter_async_context(_rest(network, bound))
        stack.callback((directory / DESCRIPTION).unlink, missing_ok=True)
        write_private(directory / DESCRIPTION, _description(bound, key))
        if ready is not None:
            ready()
        await asyncio.wait({network.failed, rest}, return_when=asyncio.FIRST_COMPLETED)
        await (network.failed if network.failed.done() else rest)
        raise LocalnetError("the REST server stopped by itself: see the log, then start again")


@dataclass(frozen=True, slots=True)
class _Bound:
    consensus: dict[int, tuple[int, ...]]
    """By node."""
    mirror_grpc: int
    rest: tuple[socket.socket, ...]

    def rest_port(self) -> int:
        return int(self.rest[0].getsockname()[1])


@asynccontextmanager
async def _listening(network: LocalNetwork, ports: Ports) -> AsyncIterator[_Bound]:
    """The REST sockets, bound, and both gRPC servers, started."""
    async with AsyncExitStack() as stack:
        rest = tuple(stack.enter_context(_socket(port)) for port in ports.mirror_rest)
        began = time.monotonic_ns()
        consensus: dict[int, tuple[int, ...]] = {}
        servers = []
        node_ports = (ports.consensus, *((port,) for port in ports.more_nodes))
        for node, wanted in zip(NODES, node_ports, strict=False):
            server = await stack.enter_async_context(_grpc_server(hapi_service.MAX_REQUEST_BYTES))
            consensus[node] = tuple(_grpc_port(server, port) for port in wanted)
            service = HapiService(network, node, lambda: time.monotonic_ns() - began)
            server.add_generic_rpc_handlers((service,))
            servers.append(server)
        mirror = await stack.enter_async_context(_grpc_server(mirror_service.MAX_REQUEST_BYTES))
        mirror_port = _grpc_port(mirror, ports.mirror_grpc)
        mirror.add_generic_rpc_handlers((MirrorService(network, consensus),))
        for server in (*servers, mirror):
            await server.start()
        yield _Bound(consensus, mirror_port, rest)


@asynccontextmanager
async def _grpc_server(max_bytes: int) -> AsyncIterator[grpc.aio.Server]:
    options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", max_bytes))
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_CALLS)
    try:
        yield server
    finally:
        await server.stop(GRACE_S)


@asynccontextmanager
async def _rest(network: LocalNetwork, bound: _Bound) -> AsyncIterator["asyncio.Task[None]"]:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}" for listener in bound.rest]
    config.loglevel = "WARNING"
    config.graceful_timeout = GRACE_S
    config.include_server_header = False
    stopping = asyncio.Event()
    app = MirrorRest(network, bound.consensus).app()
    task = asyncio.create_task(
        hypercorn.asyncio.serve(app, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]
    )
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait({task})


def _socket(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as fault:
        listener.close()
        raise _not_bound(port, fault.errno) from None
    return listener


def _grpc_port(server: grpc.aio.Server, port: int) -> int:
    # gRPC reports a port in use on stderr by itself, in its own words: try the port first.
    if port:
        _socket(port).close()
    try:
        bound = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError:
        raise _not_bound(port, errno.EADDRINUSE) from None
    if bound == 0:
        raise _not_bound(port, errno.EADDRINUSE)
    return bound


def _not_bound(port: int, number: int | None) -> LocalnetError:
    if number == errno.EADDRINUSE:
        return LocalnetError(
            f"port {port} on {HOST} is in use: stop what listens there, or start the localnet with --any-port"
        )
    return LocalnetError(
        f"port {port} on {HOST} cannot be had ({os.strerror(number or 0)}): start with --any-port"
    )


def _operator_key(directory: Path) -> Ed25519PrivateKey:
    """The operator's key, made on the first start."""
    path = directory / OPERATOR_KEY
    if path.exists():
        try:
            key = load_der_private_key(bytes.fromhex(path.read_text()), password=None)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise LocalnetError(f"{path} holds no ed25519 key: restore it, or begin in another directory")
        return key
    if (directory / JOURNAL).exists():
        raise LocalnetError(f"{path} is missing: restore it, or begin in another directory")
    key = Ed25519PrivateKey.generate()
    write_private(path, _der_hex(key).encode())
    return key


def _der_hex(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex()


def _description(bound: _Bound, key: Ed25519PrivateKey) -> bytes:
    description = Description(
        network=NETWORK,
        nodes={f"0.0.{node}": f"{HOST}:{ports[0]}" for node, ports in bound.consensus.items()},
        mirror_grpc=f"{HOST}:{bound.mirror_grpc}",
        mirror_rest=f"http://{HOST}:{bound.rest_port()}",
        operator_account=f"0.0.{OPERATOR}",
        operator_key=_der_hex(key),
        pid=os.getpid(),
    )
    return description.model_dump_json(indent=2).encode() + b"\n"
