"""Opening the libp2p transport: who it is, where it listens, and what it says when it cannot."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import trio

from node.blobs import Blobs
from node.identity import identity_of
from node.net.wire.host import WireError, open_wire

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
FIRST, SECOND = (identity_of(hashlib.sha256(f"opening {n}".encode()).digest()) for n in range(2))


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(30):
            await scenario()

    trio.run(main)


def test_the_peer_id_is_that_of_the_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_wire(FIRST.secret, ANYWHERE, {}, Blobs(tmp_path)) as wire:
            assert wire.peer == FIRST.peer
            assert wire.address.startswith("/ip4/127.0.0.1/tcp/")
            assert not wire.address.endswith("/0")

    play(scenario)


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_wire(FIRST.secret, ANYWHERE, {}, Blobs(tmp_path)) as wire:
            with pytest.raises(WireError, match="in use; stop the other node") as error:
                async with open_wire(SECOND.secret, wire.address, {}, Blobs(tmp_path)):
                    pass
            assert "\n" not in str(error.value)

    play(scenario)


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1:80", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1"]
)
def test_an_address_that_cannot_be_listened_on_is_refused(tmp_path: Path, listen: str) -> None:
    async def scenario() -> None:
        with pytest.raises(WireError, match=r"^cannot listen"):
            async with open_wire(FIRST.secret, listen, {}, Blobs(tmp_path)):
                pass

    play(scenario)


def test_an_exception_passes_through_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(KeyError, match="mine"):
            async with open_wire(FIRST.secret, ANYWHERE, {}, Blobs(tmp_path)):
                raise KeyError("mine")

    play(scenario)
