"""secp256k1 signatures over 32-byte digests: all that checking them in another process takes (SPEC.md, signing)."""

from functools import lru_cache

import coincurve
from coincurve._libsecp256k1 import lib  # type: ignore[import-not-found]
from coincurve.ecdsa import deserialize_compact

DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES = 32, 33, 64


# A node sees most signatures twice, from its peer and on the topic; to look one up costs a hundredth of checking it.
@lru_cache(maxsize=1024)
def is_signed(key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a compact signature of 64 bytes, its s low, is the key's over a digest."""
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    try:
        point, numbers = _point(key), deserialize_compact(signature)
    except ValueError:
        return False
    # What coincurve's own `verify` does, less a detour of the signature through DER.
    return bool(lib.secp256k1_ecdsa_verify(point.context.ctx, numbers, digest, point.public_key))


@lru_cache(maxsize=1024)
def _point(key: bytes) -> coincurve.PublicKey:
    return coincurve.PublicKey(key)
