"""secp256k1 signatures over 32-byte digests: all that checking them in another process takes (SPEC.md, signing)."""

from functools import lru_cache

import coincurve
from coincurve.ecdsa import cdata_to_der, deserialize_compact

DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES = 32, 33, 64


def is_signed(key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a compact signature of 64 bytes, its s low, is the key's over a digest."""
    try:
        der = cdata_to_der(deserialize_compact(signature))
        return _point(key).verify(der, digest, hasher=None)
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _point(key: bytes) -> coincurve.PublicKey:
    return coincurve.PublicKey(key)
