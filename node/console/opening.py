"""Opens the operator's view of one daemon: its observers, and where it is served."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.config import OperatorSection
from node.console.address import Address, announced
from node.console.app import Console
from node.console.board import Board
from node.console.metrics import Metrics
from node.console.observers import Observers
from node.console.server import bind, hosts_of, serve, url_of
from node.observer import Observer
from protocol.ids import PeerId

log = structlog.get_logger("node.console")


@dataclass(frozen=True, slots=True)
class OperatorView:
    """What a daemon needs of its operator's view."""

    observer: Observer
    board: Board
    metrics: Metrics
    section: OperatorSection
    listener: socket.socket | None
    """None where there is no view."""

    async def serve(self) -> None:
        """Serve until cancelled; what goes wrong is logged, and ends the view alone."""
        if self.listener is not None:
            app = Console(self.board, self.metrics).app(hosts_of(self.section, self.listener))
            log.info("the dashboard can be seen", url=url_of(self.listener))
            await serve(self.listener, app)


@contextmanager
def open_view(section: OperatorSection, data: Path, peer: PeerId, board: Board) -> Iterator[OperatorView]:
    """The view of one daemon, its socket bound. Raises NodeError and LedgerError with one line."""
    metrics = Metrics(board)
    observer = Observers([board, metrics])
    with ExitStack() as opened:
        listener = None
        if section.enabled:
            listener = opened.enter_context(bind(section))
            opened.enter_context(announced(data, Address(peer=peer, url=url_of(listener))))
        yield OperatorView(observer, board, metrics, section, listener)
