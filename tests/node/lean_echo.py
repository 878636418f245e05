"""Our end of an echo: a host of ours sends to another, and reads back what comes."""

import trio

from node.identity import identity_of
from node.net.control import Limits
from node.net.mesh import CONTROL
from node.net.wire.host import Host
from protocol.ids import PeerId

SIZE = 3_000_000
"""Bytes: more than ten of Yamux's first windows."""


class _Nobody:
    """A mesh that talks to whoever comes."""

    def is_welcome(self, peer: PeerId) -> bool:
        return True

    def may_arrive(self, peer: PeerId) -> bool:
        return True

    async def on_control(self, channel: object) -> None:
        """Nobody comes."""

    async def on_blob(self, channel: object) -> None:
        """Nobody comes."""

    def on_collapse(self, cause: str) -> None:
        raise AssertionError(cause)


async def echo_with(peer: str, address: str, data: bytes) -> bytes:
    """What a peer answers to data, sent in pieces of many sizes."""
    from node.net.wire.host import _tcp_address

    limits, found = Limits(), bytearray()
    async with trio.open_nursery() as nursery:
        host = Host(identity_of(b"\x05" * 32).secret, _tcp_address("/ip4/127.0.0.1/tcp/0"), limits)
        await nursery.start(lambda task_status: host.run(_Nobody(), task_status=task_status))  # type: ignore[arg-type]
        await host.dial(PeerId(peer), address)
        pipe = await host.open(PeerId(peer), CONTROL)

        async def send() -> None:
            at, size = 0, 1
            while at < len(data):
                await pipe.write(data[at : at + size])
                at, size = at + size, size * 3 % 100_003

        nursery.start_soon(send)
        while len(found) < len(data):
            found += await pipe.read(65_536, 30.0)
        nursery.cancel_scope.cancel()
    return bytes(found)
