"""A libp2p host as it comes, in a process of its own: echoes whatever it is sent on a control stream."""

import sys

import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.custom_types import TProtocol
from multiaddr import Multiaddr

from node.net.mesh import CONTROL


async def echo(stream: INetStream) -> None:
    while data := await stream.read(65_536):
        await stream.write(data)


async def main() -> None:
    host = new_host(key_pair=create_new_key_pair(b"\x07" * 32), muxer_preference="YAMUX")
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        host.set_stream_handler(TProtocol(CONTROL), echo)
        sys.stdout.write(f"{host.get_transport_addrs()[0]} {host.get_id()}\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
