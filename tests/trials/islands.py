"""Network namespaces on one bridge: each member on a machine of its own, as far as the network can tell.

A cut is a wrong entry in the table of neighbours: packets are lost without a word, as on a cable that was pulled.
"""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.crashes.proxy import proxy_to
from tests.trials.trial import Home

NOBODY = "02:00:00:00:00:01"
"""A hardware address that no interface has."""
LEDGER = 254


@dataclass
class Islands:
    """Members' namespaces, and a bridge with the ledger on it."""

    tag: str
    subnet: str
    """The first three numbers of its addresses."""
    size: int

    def address(self, host: int) -> str:
        return f"{self.subnet}.{host if host == LEDGER else host + 1}"

    def space(self, place: int) -> str:
        return f"{self.tag}{place}"

    def homes(self) -> list[Home]:
        return [
            Home(self.address(place), self.address(LEDGER), ("ip", "netns", "exec", self.space(place)))
            for place in range(self.size)
        ]

    def build(self) -> None:
        """Make the bridge, and a namespace for each member."""
        ip("link", "add", self.tag, "type", "bridge")
        ip("addr", "add", f"{self.address(LEDGER)}/24", "dev", self.tag)
        ip("link", "set", self.tag, "up")
        for place in range(self.size):
            space, here, there = self.space(place), f"{self.tag}p{place}", f"{self.tag}q{place}"
            ip("netns", "add", space)
            ip("link", "add", here, "type", "veth", "peer", "name", there)
            ip("link", "set", here, "master", self.tag, "up")
            ip("link", "set", there, "netns", space)
            within(space, "link", "set", "lo", "up")
            within(space, "link", "set", there, "name", "eth0")
            within(space, "addr", "add", f"{self.address(place)}/24", "dev", "eth0")
            within(space, "link", "set", "eth0", "up")

    def raze(self) -> None:
        """Take everything away that is there."""
        for place in range(self.size):
            subprocess.run(["ip", "netns", "del", self.space(place)], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "link", "del", self.tag], stderr=subprocess.DEVNULL, check=False)

    def cut(self, some: Iterable[int], others: Iterable[int]) -> None:
        """Let nothing pass between members of two groups, or members and the ledger."""
        for one in some:
            for other in others:
                self._lose(one, other)
                self._lose(other, one)

    def heal(self) -> None:
        """Let everything pass again."""
        for place in range(self.size):
            within(self.space(place), "neigh", "flush", "dev", "eth0", "nud", "permanent")
        ip("neigh", "flush", "dev", self.tag, "nud", "permanent")

    def _lose(self, sender: int, receiver: int) -> None:
        entry = ("neigh", "replace", self.address(receiver), "lladdr", NOBODY, "nud", "permanent", "dev")
        if sender == LEDGER:
            ip(*entry, self.tag)
        else:
            within(self.space(sender), *entry, "eth0")


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def within(space: str, *words: str) -> None:
    ip("-n", space, *words)


def why_not() -> str | None:
    """Why there can be no namespaces here, or None where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"rb{secrets.token_hex(3)}"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            return f"network namespaces cannot be made: {made.stderr.strip()}"
        subprocess.run(["ip", "netns", "del", probe], check=True)
        bridge = subprocess.run(
            ["ip", "link", "add", probe, "type", "bridge"], capture_output=True, text=True, check=False
        )
        if bridge.returncode != 0:
            return f"bridges cannot be made: {bridge.stderr.strip()}"
        subprocess.run(["ip", "link", "del", probe], check=True)
    except FileNotFoundError:
        return "there is no `ip`: install iproute2"
    return None


@asynccontextmanager
async def islands(size: int) -> AsyncIterator[Islands]:
    """Namespaces for so many members; gone afterwards."""
    made = Islands(
        f"rb{secrets.token_hex(3)}", f"10.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}", size
    )
    try:
        made.build()
        yield made
    finally:
        made.raze()


@asynccontextmanager
async def ledger_at(address: str, ports: Iterable[int]) -> AsyncIterator[None]:
    """The localnet, which listens on 127.0.0.1 alone, on another address of this machine as well."""
    async with AsyncExitStack() as stack:
        for port in ports:
            await stack.enter_async_context(proxy_to(port, address, port))
        yield
