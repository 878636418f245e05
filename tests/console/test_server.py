"""The server over real sockets, on trio: bounds, clients that do not read, and failures that stay its own."""

import socket
from contextlib import suppress

import httpx
import pytest
import structlog
import trio
import trio.testing

from node.config import OperatorSection
from node.console import server
from node.console.app import Console
from node.console.board import Board
from node.console.metrics import Metrics
from node.console.server import bind, hosts_of, serve, url_of
from node.home import NodeError
from tests.console.watched import Watched, played
from tests.protocol.world import Run

ANY = OperatorSection(listen="127.0.0.1:0")


def board() -> Board:
    return Watched(played(Run(3), "accepted"), 0).board


async def _with_server(test, app=None) -> None:
    listener = bind(ANY)
    app = app or Console(board(), Metrics(board())).app(hosts_of(ANY, listener))
    async with trio.open_nursery() as tasks:
        tasks.start_soon(serve, listener, app)
        await test(url_of(listener))
        tasks.cancel_scope.cancel()


def on_trio(test, app=None) -> None:
    """Run a test beside a server; both must end within a few seconds of each other."""

    async def bounded() -> None:
        with trio.fail_after(60):
            await _with_server(test, app)

    trio.run(bounded)


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_it_serves_the_page_and_a_stream() -> None:
    async def ask(url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).status_code == 200
            assert (await client.get(f"{url}api/status")).json()["node"]["state"] == "live"
            async with client.stream("GET", f"{url}api/events") as answer:
                lines = answer.aiter_lines()
                assert [await anext(lines) for _ in range(3)] == ["retry: 2000", "", "event: status"]

    on_trio(ask)


def test_a_client_that_never_reads_does_not_hold_up_the_end() -> None:
    """Hypercorn's own server would wait for it for ever: its writes are shielded from cancellation."""
    written = trio.Event()

    async def flood(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        written.set()
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})

    async def freeze(url: str) -> None:
        with connect(url) as frozen:
            frozen.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await written.wait()
            await trio.testing.wait_all_tasks_blocked(0.2)
            raise _Over

    with pytest.RaisesGroup(_Over):
        on_trio(freeze, flood)


class _Over(Exception):
    """The test has seen what it wanted to see; the server must stop now."""


def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    over = trio.Event()

    async def flood(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        over.set()  # Hypercorn swallows what is sent to who is gone

    async def freeze(url: str) -> None:
        with connect(url) as frozen:
            frozen.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await over.wait()

    on_trio(freeze, flood)


def test_more_connections_than_it_takes_are_closed() -> None:
    async def crowd(url: str) -> None:
        idle = [connect(url) for _ in range(server.MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked(0.2)
        with connect(url) as one_more:
            assert await trio.to_thread.run_sync(one_more.recv, 1) == b""
        for each in idle:
            each.close()
        answered = False
        async with httpx.AsyncClient(trust_env=False) as client:
            while not answered:  # it takes a moment to notice that they are gone
                with suppress(httpx.TransportError):
                    answered = (await client.get(f"{url}healthz")).status_code == 200

    on_trio(crowd)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ],
)
def test_garbage_closes_its_connection_alone(raw: bytes) -> None:
    async def talk(url: str) -> None:
        with connect(url) as rude:
            rude.sendall(raw)
            rude.shutdown(socket.SHUT_WR)
            while await trio.to_thread.run_sync(rude.recv, 65_536):
                pass
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{url}healthz")).status_code == 200

    on_trio(talk)


def test_a_taken_port_is_refused_in_one_line() -> None:
    with bind(ANY) as first:
        port = first.getsockname()[1]
        with pytest.raises(NodeError, match=f"^127.0.0.1:{port} is in use; .* `listen` in \\[operator\\]$"):
            bind(OperatorSection(listen=f"127.0.0.1:{port}"))
    with pytest.raises(NodeError, match="cannot be listened on"):
        bind(OperatorSection(listen="192.0.2.1:8710"))


def test_by_default_it_is_on_this_machine_at_the_usual_port_or_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bind(ANY) as other:
        usual = other.getsockname()
        monkeypatch.setattr(server, "USUAL", usual)
        with bind(OperatorSection()) as mine:
            assert mine.getsockname()[0] == "127.0.0.1"
            assert mine.getsockname() != usual
    with bind(OperatorSection()) as mine:
        assert mine.getsockname() == usual


def test_names_under_which_it_may_be_asked_for() -> None:
    section = OperatorSection(listen="127.0.0.1:0", hosts=("node.example",))
    with bind(section) as listener:
        assert hosts_of(section, listener) == {"127.0.0.1", "localhost", "[::1]", "node.example"}


def test_a_server_that_fails_says_so_and_lets_the_node_go_on() -> None:
    async def main() -> None:
        listener = bind(ANY)
        listener.close()
        await serve(listener, Console(board(), Metrics(board())).app({"localhost"}))

    with structlog.testing.capture_logs() as lines:
        trio.run(main)
    assert [line["log_level"] for line in lines] == ["error"]
    assert "the node goes on without it" in lines[0]["event"]
