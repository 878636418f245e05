"""`roundabout node` as a process of its own, but for a learner that adds one and a network on which nobody is heard.

So all that the members say goes through the topic, near each round's deadline, and a candidate is taken from the
folder of whoever made it. Run with a configuration, and the members' folders.
"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from node import daemon
from node.blobs import stored_blob
from node.config import load_config
from node.logs import set_up_logging
from node.net.transport import Blame, Contact, FetchFailed, Inbound, Transport
from node.partial import Partial
from protocol.ids import PeerId
from tests.node.world import StubLearner


class Silence:
    """A transport that delivers nothing but blobs."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def admit(self, peers: frozenset[PeerId]) -> None:
        pass

    def locate(self, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        pass

    def contacts(self) -> tuple[Contact, ...]:
        return ()

    def drop(self, peer: PeerId, reason: str) -> None:
        pass

    def send(self, peer: PeerId, frame: bytes) -> bool:
        return False

    async def inbound(self) -> AsyncIterator[Inbound]:
        await anyio.sleep_forever()
        yield  # type: ignore[misc]

    async def fetch(self, partial: Partial, sources: tuple[PeerId, ...], blame: Blame) -> None:
        for folder in self._folders:
            found = stored_blob(folder / "blobs", partial.wanted.digest)
            if found is not None and partial.write(0, found.read_bytes()):
                partial.mark(0)
                return
        raise FetchFailed("nobody has it")


@asynccontextmanager
async def open_learner(*_: object) -> AsyncIterator[StubLearner]:
    yield StubLearner()


def main(config: Path, folders: list[Path]) -> None:
    @asynccontextmanager
    async def open_wire(*_: object, **__: object) -> AsyncIterator[Transport]:
        yield Silence(folders)  # type: ignore[misc]

    daemon.open_learner = open_learner  # type: ignore[assignment]
    daemon.open_wire = open_wire  # type: ignore[assignment]
    settings = load_config(config)
    set_up_logging(settings.log.level, settings.log.format)
    anyio.run(daemon.run_node, settings, backend="trio")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
