"""The key files: whether they are there, ours alone, and what they should be."""

import os
import stat

from ledger.keys import SigningKey, signing_key
from ledger.topic import LedgerError
from node.config import Config
from node.doctor.findings import Finding, Findings, doubt, fine, refused
from node.home import load_identity
from node.identity import Identity, IdentityError
from node.networks import account_key


def examine_identity(config: Config) -> tuple[Identity | None, Finding]:
    """Who we are, where that can be told."""
    try:
        identity = load_identity(config)
    except IdentityError as error:
        return None, refused("keys", error)
    return identity, fine("keys", f"{config.identity.file} is peer {identity.peer}")


def examine_account_key(config: Config, identity: Identity | None) -> tuple[SigningKey | None, Findings]:
    """The key that pays, where there is one."""
    ledger = config.ledger
    if identity is None and ledger.key_file is None and ledger.key_env is None:
        return None, ()  # it would be the identity's, of which something was said already
    try:
        key = signing_key(account_key(ledger, identity))
    except LedgerError as error:
        return None, (refused("keys", error),)
    file = ledger.key_file
    if file is None:
        return key, ()
    mode = stat.S_IMODE(os.stat(file).st_mode)
    if mode & 0o077:
        said = f"{file} can be read by others (mode {mode:04o})"
        return key, (doubt("keys", said, f"run: chmod 600 {file}"),)
    return key, (fine("keys", f"{file} holds the key that pays"),)
