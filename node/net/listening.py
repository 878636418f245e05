"""Whether an address of this machine is free to listen on."""

import socket


def bind_failure(host: str, port: int, is_ip6: bool = False) -> OSError | None:
    """What the operating system has against listening there, or None. libp2p would share a port that is taken."""
    family = socket.AF_INET6 if is_ip6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
