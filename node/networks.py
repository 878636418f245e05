"""Where Hedera networks are, and how an account on them is opened from the configuration."""

import os
from contextlib import AbstractAsyncContextManager

from ledger.hedera import Hedera, Network, open_hedera
from ledger.keys import load_key, signing_key
from ledger.outbox import Outbox
from ledger.topic import LedgerError
from node.config import LedgerAccess, LedgerSection, NetworkProfile, load_profile
from node.identity import Identity
from node.presets import network_file
from protocol.ids import Tinybar


def profile_of(access: LedgerAccess) -> NetworkProfile:
    """The profile of a configuration's network. Raises ConfigError."""
    return load_profile(network_file(access.network))


def network_of(access: LedgerAccess) -> Network:
    """The Hedera network of a configuration, with what it leaves out. Raises ConfigError."""
    profile = profile_of(access)
    nodes = access.nodes or profile.nodes
    return Network(
        name=access.network,
        mirror_rest=access.mirror or profile.mirror,
        mirror_grpc=access.mirror_grpc or (None if access.mirror else profile.mirror_grpc),
        nodes={str(account): address for account, address in nodes.items()},
    )


def open_account(
    access: LedgerAccess, key: bytes, outbox: Outbox | None = None
) -> AbstractAsyncContextManager[Hedera]:
    """The configuration's account, for use with its key; see `open_hedera`. Raises ConfigError, LedgerError."""
    patience = profile_of(access).patience
    return open_hedera(network_of(access), access.account, key, patience=patience, outbox=outbox)


def spend_limit_of(ledger: LedgerSection) -> Tinybar:
    """What a node may spend in an hour. Raises ConfigError."""
    return Tinybar(profile_of(ledger).spend_limit if ledger.spend_limit is None else ledger.spend_limit)


def account_key(access: LedgerAccess, identity: Identity | None) -> bytes:
    """The private key that pays: that of key_file or key_env, else the identity's own.

    Raises LedgerError, which never quotes it.
    """
    if access.key_file is not None:
        return load_key(access.key_file)
    if access.key_env is not None:
        return _key_in_environment(access.key_env)
    if identity is None:
        raise LedgerError(
            "ledger.key_file and ledger.key_env are missing: name the file of the account's private key, or "
            "the environment variable that holds it"
        )
    return identity.secret


def _key_in_environment(name: str) -> bytes:
    text = os.environ.get(name, "").strip()
    if not text:
        raise LedgerError(f"the environment variable {name} is empty; set it to the account's private key")
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
        signing_key(key)
    except (ValueError, LedgerError):
        # Neither may be chained: what they say of the text could quote it.
        key = b""
    if not key:
        raise LedgerError(
            f"the environment variable {name} holds no private key, neither DER nor 32 bytes of secp256k1, in hex; "
            "correct it"
        )
    return key
