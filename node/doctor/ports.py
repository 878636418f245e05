"""Where the daemon listens, or is going to."""

import errno
import ipaddress
import socket
from collections.abc import Iterable

from node.config import NetworkSection
from node.doctor.findings import Finding, Findings, doubt, fine, problem
from node.net.listening import bind_failure

ANSWER_SECONDS = 3.0


def examine_ports(network: NetworkSection, running: bool) -> Findings:
    """Whether we can listen there, or do already, and whether others could reach us."""
    kind, host, port = parts_of(network.listen)
    others = [parts_of(address)[1] for addresses in network.peers.values() for address in addresses]
    return (_listening(kind, host, port, running), *_reachable(host, port, others))


def parts_of(address: str) -> tuple[str, str, int]:
    """Kind, host and port of a multiaddr such as /ip4/127.0.0.1/tcp/4001."""
    _, kind, host, _, port = address.split("/")
    return kind, host, int(port)


def _listening(kind: str, host: str, port: int, running: bool) -> Finding:
    where = f"{host} port {port}" if port else f"{host}, any port"
    if running and port:
        try:
            socket.create_connection((host, port), ANSWER_SECONDS).close()
        except OSError as error:
            said = f"a daemon runs, but {where} does not answer: {error.strerror or error}"
            return problem("ports", said, "is it this configuration's? its log says where it listens")
        return fine("ports", f"the daemon listens on {where}")
    failure = bind_failure(host, port, kind.endswith("6"))
    if failure is None:
        return fine("ports", f"can listen on {where}")
    remedy = "choose an address of this machine for [network] listen"
    if failure.errno == errno.EADDRINUSE:
        remedy = "stop the other node or choose another [network] listen"
    return problem("ports", f"cannot listen on {where}: {failure.strerror or failure}", remedy)


def _reachable(host: str, port: int, others: Iterable[str]) -> Findings:
    if port == 0:
        said = "the port is another one at every start, so nobody can be told where to reach us"
        return (doubt("ports", said, "give [network] listen a port, unless this node dials all others"),)
    if is_local(host) and any(not is_local(other) for other in others):
        said = f"members are elsewhere, and from there {host} cannot be reached"
        return (doubt("ports", said, "let [network] listen on an address that they can reach"),)
    return ()


def is_local(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
