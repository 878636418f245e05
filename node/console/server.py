"""HTTP for the operator's view: a socket that is bound before anything else starts, and Hypercorn on trio behind it.

Hypercorn's own `serve` shields each write from cancellation: one browser that is frozen would keep the daemon from ever
stopping. So its connections are run here, over streams whose writes have a deadline, and no more than a few of them.
"""

import errno
import logging
import socket
from contextlib import suppress

import structlog
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from node.config import OperatorSection
from node.console.gate import LOCAL_NAMES
from node.home import NodeError

MAX_CONNECTIONS = 64
"""More are closed as soon as they are opened."""
PATIENCE = 10.0
"""Seconds that a client may take for one write, or to ask for something."""
MAX_HEAD = 16 * 1024
"""Bytes of the longest request head."""
USUAL = ("127.0.0.1", 8710)
"""Where the view is when the configuration does not say; where that is taken, at any free port."""

log = structlog.get_logger("node.console")


def bind(section: OperatorSection) -> socket.socket:
    """The socket of the view. Raises NodeError when it cannot be had where the configuration wants it."""
    if section.listen is not None:
        host, _, port = section.listen.rpartition(":")
        return _bound(host.strip("[]"), int(port))
    try:
        return _bound(*USUAL)
    except NodeError:
        return _bound(USUAL[0], 0)


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds a socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def hosts_of(section: OperatorSection, listener: socket.socket) -> frozenset[str]:
    """The names under which it may be asked for: this machine's own, where it listens, and those configured."""
    host = listener.getsockname()[0]
    return LOCAL_NAMES | {f"[{host}]" if ":" in host else host} | set(section.hosts)


async def serve(listener: socket.socket, app: ASGIApp) -> None:
    """Serve until cancelled. What goes wrong ends the view, not the node: it is logged and this returns."""
    try:
        await _Server(app).run(trio.SocketListener(trio.socket.from_stdlib_socket(listener)))
    except Exception:  # who only looks on must not stop who takes part
        log.exception(
            "the operator's view has failed; the node goes on without it, restart it to have it back"
        )


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(MAX_CONNECTIONS)
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRINUSE:
            why = "is in use; stop what listens there"
        else:
            why = f"cannot be listened on ({fault.strerror or fault})"
        raise NodeError(f"{host}:{port} {why}, or change `listen` in [operator]") from None
    listener.setblocking(False)
    return listener


class _Server:
    def __init__(self, app: ASGIApp) -> None:
        self._app = wrap_app(app, MAX_HEAD, "asgi")  # type: ignore[arg-type]
        self._open: set[_PatientStream] = set()
        self._full = False
        self._context = WorkerContext(None)
        self._config = _settings()

    async def run(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as connections:
            try:
                await trio.serve_listeners(self._talk, [listener], handler_nursery=connections)
            finally:
                for stream in self._open:
                    stream.cut()

    async def _talk(self, raw: trio.SocketStream) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            if not self._full:
                log.warning("more connections than the operator's view takes", most=MAX_CONNECTIONS)
            self._full = True
            await trio.aclose_forcefully(raw)
            return
        stream = _PatientStream(raw)
        self._open.add(stream)
        try:
            await TCPServer(self._app, self._config, self._context, ConnectionState({}), stream)  # type: ignore[arg-type]
        except Exception:  # one connection's failure is not the others'
            log.exception("a connection to the operator's view failed")
        finally:
            self._open.discard(stream)
            self._full = False
            stream.cut()


class _PatientStream(trio.abc.HalfCloseableStream):
    """A TCP stream that gives up on who does not read; a deadline reaches where cancellation is shielded off."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | memoryview) -> None:
        with trio.move_on_after(PATIENCE) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            log.info("a browser that does not read was cut off")
            self.cut()
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def cut(self) -> None:
        """Close it at once; who waits for it is told."""
        with suppress(OSError):
            self.socket.close()


def _settings() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = logging.getLogger("node.console.http")  # its own would write lines in another format
    config.include_server_header = False
    config.keep_alive_timeout = PATIENCE
    config.h11_max_incomplete_size = MAX_HEAD
    config.alpn_protocols = ["http/1.1"]
    return config
