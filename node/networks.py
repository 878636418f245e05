"""Where Hedera networks are, and how an account on them is opened from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ledger.hedera import Network
from ledger.keys import load_key
from ledger.topic import LedgerError
from node.config import LedgerAccess
from node.identity import Identity


@dataclass(frozen=True, slots=True)
class _Defaults:
    mirror: str
    mirror_grpc: str
    nodes: Mapping[str, str] = field(default_factory=dict)


# The local ones are where the SDKs' own presets look; the public ones publish their consensus nodes on the mirror.
_DEFAULTS = MappingProxyType(
    {
        "localnet": _Defaults("http://127.0.0.1:5551", "127.0.0.1:5600", {"0.0.3": "127.0.0.1:50211"}),
        "solo": _Defaults("http://127.0.0.1:38081", "127.0.0.1:5600", {"0.0.3": "127.0.0.1:35211"}),
        "testnet": _Defaults("https://testnet.mirrornode.hedera.com", "testnet.mirrornode.hedera.com:443"),
        "mainnet": _Defaults("https://mainnet.mirrornode.hedera.com", "mainnet.mirrornode.hedera.com:443"),
    }
)


def network_of(access: LedgerAccess) -> Network:
    """The Hedera network of a configuration, with what it leaves out."""
    defaults = _DEFAULTS[access.network]
    return Network(
        name=access.network,
        mirror_rest=access.mirror or defaults.mirror,
        mirror_grpc=access.mirror_grpc or (None if access.mirror else defaults.mirror_grpc),
        nodes={str(account): address for account, address in access.nodes.items()} or defaults.nodes,
    )


def account_key(access: LedgerAccess, identity: Identity | None) -> bytes:
    """The private key that pays: the one in key_file, else the identity's own. Raises LedgerError."""
    if access.key_file is not None:
        return load_key(access.key_file)
    if identity is None:
        raise LedgerError("the key ledger.key_file is missing: name the file of the account's private key")
    return identity.secret
