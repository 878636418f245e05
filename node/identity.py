"""A key file: one secp256k1 key, PKCS#8 in PEM, readable by its owner alone (SPEC.md, Identities)."""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from coincurve import PrivateKey
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocol.ids import PeerId, PublicKey, peer_id_of

_MOST = 16_384
"""Bytes of the longest key file that is read."""


class IdentityError(Exception):
    """The key file cannot be used; the message names cause and remedy in one line."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One participant: its secret and what follows from it."""

    secret: bytes = field(repr=False)
    """The private key, 32 bytes, big-endian; never shown or logged."""
    public_key: PublicKey
    peer: PeerId

    def sign(self, digest: bytes) -> bytes:
        """The 64-byte compact signature, low s, of a 32-byte digest; deterministic."""
        if len(digest) != 32:
            raise ValueError("a digest to sign has 32 bytes")
        # coincurve appends the recovery id; libsecp256k1 always gives the low s.
        return PrivateKey(self.secret).sign_recoverable(digest, hasher=None)[:64]


def identity_of(secret: bytes) -> Identity:
    """The identity of a 32-byte private key. Raises ValueError when it is not one."""
    key = PublicKey(PrivateKey(secret).public_key.format(compressed=True))
    return Identity(secret, key, peer_id_of(key))


def create(path: Path, passphrase: str | None = None) -> Identity:
    """Make a key and write its file, mode 0600. Raises IdentityError, also rather than overwrite a file."""
    key = ec.generate_private_key(ec.SECP256K1())
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        if not passphrase:
            raise IdentityError(f"{path}: an empty passphrase protects nothing; give one, or none at all")
        encryption = BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        _write_new(path, pem)
    except FileExistsError:
        raise IdentityError(f"{path} exists already; use it, or choose another path") from None
    except OSError as error:
        raise IdentityError(f"cannot write {path}: {error.strerror}; choose another path") from error
    return _identity(key)


def load(path: Path, passphrase: str | None = None) -> Identity:
    """Read a key file. Raises IdentityError when others may read it, or when it is not such a key."""
    pem = _read_private(path)
    if b"ENCRYPTED" in pem and not passphrase:
        raise IdentityError(f"{path} is protected: give its passphrase")
    if b"ENCRYPTED" not in pem and passphrase is not None:
        raise IdentityError(f"{path} is not protected: give no passphrase")
    try:
        key = load_pem_private_key(pem, None if passphrase is None else passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is not None:
            raise IdentityError(f"{path}: wrong passphrase, or a damaged file") from error
        raise IdentityError(f"{path} is not a private key in PEM; restore it from your copy") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise IdentityError(f"{path} holds a key of another kind; Roundabout needs secp256k1, make a new one")
    return _identity(key)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there, whatever happens. Raises FileExistsError, OSError."""
    if path.is_symlink() or path.exists():
        raise FileExistsError
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it overwrites nothing
    finally:
        temporary.unlink()


def _identity(key: ec.EllipticCurvePrivateKey) -> Identity:
    return identity_of(key.private_numbers().private_value.to_bytes(32, "big"))


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise IdentityError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
            return file.read(_MOST)
    except OSError as error:
        remedy = "name a key file, or make one with `roundabout identity`"
        raise IdentityError(f"cannot read {path}: {error.strerror}; {remedy}") from error
