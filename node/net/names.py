"""DNS names in multiaddrs: what they stand for now, since a name may lead anywhere."""

import socket

import anyio

from node.net.exchange import Lost

MOST = 4
"""Addresses of one name that are looked at."""

_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}


async def resolved(address: str, within: float) -> tuple[str, ...]:
    """A multiaddr with its name replaced by each of its IP addresses; one without a name as it is.

    within: seconds. Raises Lost.
    """
    _, kind, host, rest = address.split("/", 3)
    if kind not in _FAMILIES:
        return (address,)
    with anyio.move_on_after(within):
        try:
            found = await anyio.getaddrinfo(host, None, family=_FAMILIES[kind], type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Lost(f"cannot resolve {host}: {error}") from error
        ips = dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
        return tuple(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}/{rest}" for ip in list(ips)[:MOST])
    raise Lost(f"{host} was not resolved within {within:g} s")
