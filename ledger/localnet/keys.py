"""Keys and signatures: who has signed a transaction body, and whether that satisfies a key.

Signatures are checked when a key asks for them, once each: ed25519 over the body, secp256k1 over its
keccak-256.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import coincurve
from coincurve.ecdsa import cdata_to_der, deserialize_compact, signature_normalize
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_hash.auto import keccak

from ledger.hiero import basic_types_pb2

MAX_KEY_DEPTH = 15
ED25519_BYTES = 32
SECP256K1_BYTES = 33
SIGNATURE_BYTES = 64


class Signed(Protocol):
    """Who has signed something."""

    def __len__(self) -> int:
        """How many signatures came with it."""

    def has(self, public_key: bytes) -> bool:
        """Whether the holder of a raw public key (ed25519: 32 bytes, secp256k1: 33) has signed it."""

    def of(self, public_key: bytes) -> bytes:
        """The signature of a key that has signed."""


class Signatures:
    """The signatures on one transaction body; each is verified at most once, when it is asked for."""

    __slots__ = ("_body", "_pairs", "_verified")

    def __init__(self, body: bytes, pairs: Iterable[basic_types_pb2.SignaturePair]) -> None:
        self._body = body
        self._pairs = tuple(pairs)
        self._verified: dict[bytes, bool] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def has(self, public_key: bytes) -> bool:
        """Whether the holder of a raw public key (ed25519: 32 bytes, secp256k1: 33) has signed the body."""
        if public_key not in self._verified:
            self._verified[public_key] = self._verify(public_key)
        return self._verified[public_key]

    def of(self, public_key: bytes) -> bytes:
        """The signature of a raw public key; empty when there is none."""
        # A client may shorten the key to a prefix that tells its pairs apart: the longest one speaks for it,
        # so that many pairs with an empty prefix cost one verification and not many.
        matching = [pair for pair in self._pairs if public_key.startswith(pair.pubKeyPrefix)]
        if not matching:
            return b""
        pair = max(matching, key=lambda candidate: len(candidate.pubKeyPrefix))
        return bytes(pair.ed25519 if len(public_key) == ED25519_BYTES else pair.ECDSA_secp256k1)

    def _verify(self, public_key: bytes) -> bool:
        signature = self.of(public_key)
        if len(public_key) == ED25519_BYTES:
            return _is_ed25519_signature(public_key, signature, self._body)
        return _is_secp256k1_signature(public_key, signature, self._body)


class CollectedSignatures:
    """Signatures that a schedule has collected, each verified when it came."""

    __slots__ = ("_by_key",)

    def __init__(self, by_key: dict[bytes, bytes]) -> None:
        self._by_key = by_key

    def __len__(self) -> int:
        # Each came with a transaction of its own, which was charged for it.
        return 0

    def has(self, public_key: bytes) -> bool:
        """Whether a raw public key has signed."""
        return public_key in self._by_key

    def of(self, public_key: bytes) -> bytes:
        """The signature of a key that has signed."""
        return self._by_key[public_key]


def is_satisfied(key: basic_types_pb2.Key, signatures: Signed) -> bool:
    """Whether the signatures satisfy a key: a single one, every key of a list, or m of a threshold list."""
    match key.WhichOneof("key"):
        case "ed25519":
            return signatures.has(key.ed25519)
        case "ECDSA_secp256k1":
            return signatures.has(key.ECDSA_secp256k1)
        case "keyList":
            children = key.keyList.keys
            return bool(children) and all(is_satisfied(child, signatures) for child in children)
        case "thresholdKey":
            children = key.thresholdKey.keys.keys
            signed = sum(is_satisfied(child, signatures) for child in children)
            return signed >= max(1, int(key.thresholdKey.threshold))
        case _:
            return False


def is_well_formed(key: basic_types_pb2.Key, depth: int = 1) -> bool:
    """Whether a key could be satisfied: real curve points, no empty list, a threshold within its list."""
    if depth > MAX_KEY_DEPTH:
        return False
    match key.WhichOneof("key"):
        case "ed25519":
            return len(key.ed25519) == ED25519_BYTES
        case "ECDSA_secp256k1":
            return _is_secp256k1_point(key.ECDSA_secp256k1)
        case "keyList":
            return _are_well_formed(key.keyList.keys, depth)
        case "thresholdKey":
            children = key.thresholdKey.keys.keys
            return 1 <= key.thresholdKey.threshold <= len(children) and _are_well_formed(children, depth)
        case _:
            return False


def single_keys(key: basic_types_pb2.Key) -> Iterator[bytes]:
    """The raw public keys in a key, at any depth."""
    match key.WhichOneof("key"):
        case "ed25519":
            yield key.ed25519
        case "ECDSA_secp256k1":
            yield key.ECDSA_secp256k1
        case "keyList":
            for child in key.keyList.keys:
                yield from single_keys(child)
        case "thresholdKey":
            for child in key.thresholdKey.keys.keys:
                yield from single_keys(child)


def count_keys(key: basic_types_pb2.Key) -> int:
    """The number of single keys in a key; fees depend on it."""
    return sum(1 for _ in single_keys(key))


def is_removal(key: basic_types_pb2.Key) -> bool:
    """Whether an update means by this key that there is to be none: an empty list."""
    return key.WhichOneof("key") == "keyList" and not key.keyList.keys


def _are_well_formed(children: Iterable[basic_types_pb2.Key], depth: int) -> bool:
    verdicts = [is_well_formed(child, depth + 1) for child in children]
    return bool(verdicts) and all(verdicts)


def _is_secp256k1_point(public_key: bytes) -> bool:
    if len(public_key) != SECP256K1_BYTES:
        return False
    try:
        coincurve.PublicKey(public_key)
    except ValueError:
        return False
    return True


def _is_ed25519_signature(public_key: bytes, signature: bytes, body: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_secp256k1_signature(public_key: bytes, signature: bytes, body: bytes) -> bool:
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        # The SDKs sign with either s; libsecp256k1 verifies the low one only.
        _, low = signature_normalize(deserialize_compact(signature))
        is_signed: bool = coincurve.PublicKey(public_key).verify(cdata_to_der(low), body, hasher=keccak)
    except ValueError:
        return False
    return is_signed
