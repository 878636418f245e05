"""Members on the same local network, by multicast DNS as libp2p's specification has it.

Each node answers questions for `_p2p._udp.local` under a name of chance; its TXT record holds strings
`dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/16Uiu2…`. Anybody on the network can say anything there: what is found is an
address to dial, of those who are admitted anyway, and Noise proves who answers.
https://github.com/libp2p/specs/blob/master/discovery/mdns.md
"""

import logging
import re
import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token
from zeroconf import (  # type: ignore[attr-defined]  # not all it offers is in its __all__
    DNSText,
    Error,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceBrowser,
    ServiceInfo,
    Zeroconf,
    get_all_addresses,
)

from node.net.addresses import Found
from protocol.ids import PeerId

SERVICE = "_p2p._udp.local."
MOST = 8
"""Addresses that one record may hold."""

_LOOK_AGAIN = 60.0
"""Seconds after which it is looked whether this machine has other addresses; nobody tells."""
_CLOSING = 5.0
"""Seconds that saying goodbye may take."""
_GOODBYE = 1
"""Seconds to live of a record that is taken back: none, of which zeroconf makes one."""
_DNSADDR = re.compile(
    rb"dnsaddr[0-9]{0,2}=(/ip[46]/[0-9A-Fa-f:.]{2,45}/tcp/[0-9]{1,5})/p2p/([1-9A-Za-z]{32,64})"
)

log = logging.getLogger(__name__)


def text_of(peer: PeerId, addresses: Iterable[str]) -> bytes:
    """The TXT record that says where a peer listens."""
    strings = (f"dnsaddr={address}/p2p/{peer}".encode() for address in addresses)
    return b"".join(bytes([len(string)]) + string for string in strings)


def sightings(text: bytes) -> dict[PeerId, tuple[str, ...]]:
    """Whom a TXT record gives addresses of, as somebody on the network wrote it; what is no address is passed over."""
    found: dict[PeerId, tuple[str, ...]] = {}
    at = count = 0
    while at < len(text) and count < MOST:
        end = at + 1 + text[at]
        form = _DNSADDR.fullmatch(text[at + 1 : end])
        if form is not None and end <= len(text):
            peer, address = PeerId(form[2].decode()), form[1].decode()
            found[peer] = (*found.get(peer, ()), address)
        at, count = end, count + 1
    return found


def own_addresses(listen: str, all_ips: Iterable[str]) -> tuple[str, ...]:
    """Where others on the network reach a node that listens there; nowhere, when that is this machine alone."""
    _, kind, host, rest = listen.split("/", 3)
    if kind not in {"ip4", "ip6"}:
        return ()
    ip = ip_address(host)
    ips = [ip_address(each) for each in all_ips] if ip.is_unspecified else [ip]
    fitting = [each for each in ips if each.version == 4 and not each.is_loopback and not each.is_link_local]
    return tuple(f"/ip4/{each}/{rest}" for each in fitting[:MOST])


class Lan:
    """A Finder of peers on the local network; it binds the port of multicast DNS on all interfaces."""

    async def run(self, peer: PeerId, listen: str, found: Found) -> None:
        """Say where we listen, and tell who else does, until cancelled; without a network, try again."""
        is_news = True
        while True:
            try:
                addresses = self._addresses(listen)
                async with _spoken(peer, addresses, found):
                    log.info(
                        "looking for members on the local network; announcing %s", addresses or "nothing"
                    )
                    is_news = True
                    while self._addresses(listen) == addresses:  # noqa: ASYNC110  (no event tells)
                        await anyio.sleep(_LOOK_AGAIN)
            except (OSError, Error) as error:
                level = logging.WARNING if is_news else logging.DEBUG
                log.log(level, "cannot look for members on the local network, and go on trying: %s", error)
                is_news = False
                await anyio.sleep(_LOOK_AGAIN)

    def _addresses(self, listen: str) -> tuple[str, ...]:
        return own_addresses(listen, get_all_addresses())


class _Ear(RecordUpdateListener):
    """Hears every record on the network, in a thread of zeroconf's."""

    def __init__(self, found: Found, token: EventLoopToken) -> None:
        self._found = found
        self._token = token

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Pass on what concerns libp2p; a goodbye may be anybody's, and is not heeded."""
        for record in (update.new for update in records):
            if isinstance(record, DNSText) and record.name.endswith(SERVICE) and record.ttl > _GOODBYE:
                for peer, addresses in sightings(record.text).items():
                    anyio.from_thread.run_sync(self._found, peer, addresses, token=self._token)


@asynccontextmanager
async def _spoken(peer: PeerId, addresses: tuple[str, ...], found: Found) -> AsyncGenerator[None, None]:
    """Speak multicast DNS. Raises OSError, zeroconf.Error."""
    ear, name = _Ear(found, current_token()), secrets.token_hex(16)
    zeroconf = await anyio.to_thread.run_sync(lambda: Zeroconf(ip_version=IPVersion.V4Only))
    try:
        await anyio.to_thread.run_sync(_speak, zeroconf, ear, name, peer, addresses)
        yield
    finally:
        with anyio.move_on_after(_CLOSING, shield=True):
            await anyio.to_thread.run_sync(zeroconf.close, abandon_on_cancel=True)


def _speak(zeroconf: Zeroconf, ear: _Ear, name: str, peer: PeerId, addresses: tuple[str, ...]) -> None:
    zeroconf.add_listener(ear, None)
    # It asks from time to time; the ear hears the answers.
    ServiceBrowser(zeroconf, SERVICE, handlers=[_overlook])
    if addresses:
        _, _, _, _, port = addresses[0].split("/")
        ips = [ip_address(address.split("/")[2]).packed for address in addresses]
        text = text_of(peer, addresses)
        service = ServiceInfo(
            SERVICE, f"{name}.{SERVICE}", int(port), properties=text, server=f"{name}.local.", addresses=ips
        )
        zeroconf.register_service(service)


def _overlook(**_: object) -> None:
    """The ear hears more than a browser tells."""
