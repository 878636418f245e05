"""Members on a local network: what their records say, and two hosts that find each other there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.identity import identity_of
from node.net.lan import MOST, own_addresses, sightings, text_of
from protocol.ids import PeerId

ROOT = Path(__file__).parents[2]
PEER = PeerId("16Uiu2HAm6RLcTUcCVX1YmMEWVWADdJLdHgjoY1G4kkxzD6XNF1zc")
OTHER = PeerId("16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi")


def strings(*texts: bytes) -> bytes:
    return b"".join(bytes([len(text)]) + text for text in texts)


def test_a_record_is_read_as_it_is_written() -> None:
    addresses = ("/ip4/10.0.0.1/tcp/4001", "/ip6/fd00::1/tcp/4001")
    assert sightings(text_of(PEER, addresses)) == {PEER: addresses}


def test_records_of_other_implementations_are_read_and_what_is_not_for_us_is_passed_over() -> None:
    text = strings(
        f"dnsaddr=/ip4/192.168.1.7/udp/4001/quic-v1/p2p/{PEER}".encode(),
        b"",
        f"dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/{PEER}".encode(),
        f"dnsaddr2=/ip4/192.168.1.8/tcp/4001/p2p/{PEER}".encode(),
        f"dnsaddr=/ip4/192.168.1.9/tcp/4001/p2p/{OTHER}".encode(),
        f"dnsaddr=/dns4/evil.example/tcp/1/p2p/{OTHER}".encode(),
        b"version=1",
    )
    assert sightings(text) == {
        PEER: ("/ip4/192.168.1.7/tcp/4001", "/ip4/192.168.1.8/tcp/4001"),
        OTHER: ("/ip4/192.168.1.9/tcp/4001",),
    }


def test_a_long_record_is_read_to_its_bound() -> None:
    many = [f"/ip4/10.0.0.{n}/tcp/1" for n in range(MOST + 5)]
    assert len(sightings(text_of(PEER, many))[PEER]) == MOST


def test_a_record_that_is_cut_off_gives_nothing_false() -> None:
    whole = text_of(PEER, ["/ip4/10.0.0.1/tcp/4001"])
    assert all(sightings(whole[:end]) == {} for end in range(len(whole)))


@given(st.binary(max_size=600))
def test_any_bytes_are_a_record(text: bytes) -> None:
    assert sum(map(len, sightings(text).values())) <= MOST


@pytest.mark.parametrize(
    ("listen", "announced"),
    [
        ("/ip4/0.0.0.0/tcp/4001", ("/ip4/10.0.0.1/tcp/4001", "/ip4/93.184.216.34/tcp/4001")),
        ("/ip4/10.0.0.9/tcp/4001", ("/ip4/10.0.0.9/tcp/4001",)),
        ("/ip4/127.0.0.1/tcp/4001", ()),
        ("/dns4/example.org/tcp/4001", ()),
    ],
)
def test_where_others_on_the_network_reach_us(listen: str, announced: tuple[str, ...]) -> None:
    ips = ["127.0.0.1", "10.0.0.1", "169.254.3.4", "93.184.216.34"]
    assert own_addresses(listen, ips) == announced


# ---- two hosts, each with its own network stack, on one cable ----

HOST = """
import sys
from pathlib import Path
import anyio, trio
from node.blobs import Blobs
from node.net.addresses import AddressBook, own_scopes
from node.net.lan import Lan
from node.net.transport import Connected, Frame
from node.net.wire.host import open_wire
from protocol.ids import PeerId

secret, listen, peer, directory = sys.argv[1:]

async def main():
    with anyio.fail_after(60):
        opening = open_wire(bytes.fromhex(secret), listen, {}, Blobs(Path(directory)), finders=[Lan()])
        async with opening as wire:
            wire.admit(frozenset({PeerId(peer)}))
            inbound = wire.inbound()
            assert await anext(inbound) == Connected(PeerId(peer))
            wire.send(PeerId(peer), b"hello")
            assert await anext(inbound) == Frame(PeerId(peer), b"hello")
            sys.stdout.write("met\\n")
            sys.stdout.flush()
            await trio.sleep(0.5)

trio.run(main)
"""


def ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces on one cable, 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = tuple(f"rb{os.getpid()}{end}" for end in "ab")
    made: list[str] = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip(
                "link",
                "add",
                "lan",
                "netns",
                names[0],
                "type",
                "veth",
                "peer",
                "name",
                "lan",
                "netns",
                names[1],
            )
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        for number, name in enumerate(names, start=1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "lan")
            ip("-n", name, "link", "set", "lan", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "dev", "lan")
        yield names[0], names[1]
    finally:
        for name in made:
            ip("netns", "delete", name)


def test_two_hosts_find_each_other_knowing_no_address(hosts: tuple[str, str], tmp_path: Path) -> None:
    members = [identity_of(bytes([n]) * 32) for n in (1, 2)]
    running = [
        subprocess.Popen(
            [
                *("ip", "netns", "exec", namespace, sys.executable, "-c", HOST),
                *(me.secret.hex(), listen, other.peer, str(tmp_path / namespace)),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for namespace, me, other, listen in zip(
            hosts, members, members[::-1], ("/ip4/0.0.0.0/tcp/0", "/ip4/10.77.0.2/tcp/4001"), strict=True
        )
    ]
    try:
        for host in running:
            out, complaint = host.communicate(timeout=90)
            assert out == b"met\n", complaint.decode()
    finally:
        for host in running:
            host.kill()
            host.wait()
