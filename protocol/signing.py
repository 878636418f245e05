"""Signatures: domain tag, canonical JSON, SHA-256, secp256k1 with low s (SPEC.md, signing)."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import coincurve

from protocol.ecdsa import SIGNATURE_BYTES, is_signed
from protocol.errors import Invalid
from protocol.fields import Model, canonical
from protocol.ids import PublicKey, Signature, base64url, unbase64url

DOMAIN = "roundabout/1/"
_DOMAIN = DOMAIN.encode()

Checker = Callable[[str, Model, PublicKey, bytes, bytes], bool]
"""Whether a signature holds, of kind, body, key, digest (32 bytes) and compact signature (64 bytes)."""


def signing_digest(kind: str, body: Model) -> bytes:
    """The 32 bytes that are signed for a body: no signature of one kind is ever valid for another."""
    return hashlib.sha256(b"%b%b\n%b" % (_DOMAIN, kind.encode(), canonical(body))).digest()


def sign(secret: bytes, kind: str, body: Model) -> Signature:
    """Sign a body with a 32-byte secret (deterministic, RFC 6979)."""
    signature = _private(secret).sign_recoverable(signing_digest(kind, body), hasher=None)
    return Signature(base64url(signature[:64]))


@lru_cache(maxsize=1024)
def _private(secret: bytes) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(secret)


def verify(key: PublicKey, kind: str, body: Model, signature: Signature) -> None:
    """Check a signature over a body. Raises Invalid when it is not the key's, or has a high s."""
    try:
        compact = unbase64url(signature, SIGNATURE_BYTES)
    except ValueError:
        raise Invalid(f"the signature on this {kind} does not verify") from None
    if not _checker.get()(kind, body, key, signing_digest(kind, body), compact):
        raise Invalid(f"the signature on this {kind} does not verify")


@contextmanager
def checked_by(checker: Checker) -> Iterator[None]:
    """Within this context `verify` asks another checker, which answers as `holds` does, if later or elsewhere."""
    token = _checker.set(checker)
    try:
        yield
    finally:
        _checker.reset(token)


def holds(kind: str, body: Model, key: PublicKey, digest: bytes, compact: bytes) -> bool:
    """Whether a signature holds, found out here and now."""
    return is_signed(key, digest, compact)


_checker: ContextVar[Checker] = ContextVar("checker", default=holds)
