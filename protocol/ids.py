"""Identities and units: every quantity on the wire has a type of its own (SPEC.md, Identities and units)."""

import binascii
import hashlib
import re
from functools import lru_cache
from typing import NewType

import base58

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58: the identity multihash of a participant's secp256k1 public key."""
PublicKey = NewType("PublicKey", bytes)
"""A compressed secp256k1 public key, 33 bytes."""
Signature = NewType("Signature", str)
"""A 64-byte compact secp256k1 signature with low s, base64url without padding: 86 characters."""
Digest = NewType("Digest", str)
"""A SHA-256, base64url without padding: 43 characters."""
RunningHash = NewType("RunningHash", str)
"""The topic's SHA-384 running hash after a message, base64url without padding: 64 characters."""
AccountId = NewType("AccountId", str)
"""A Hedera account, `shard.realm.num`."""
TopicId = NewType("TopicId", str)
"""A Hedera consensus topic, `shard.realm.num`."""
Round = NewType("Round", int)
"""The number of a round, from 1."""
Tinybar = NewType("Tinybar", int)
"""Money: one hundred-millionth of an hbar."""
Ppm = NewType("Ppm", int)
"""Parts per million: scores, gains, shares and thresholds."""
Nanoseconds = NewType("Nanoseconds", int)
"""Consensus time, nanoseconds since the Unix epoch, or a duration in nanoseconds."""

SECOND = Nanoseconds(1_000_000_000)
EPOCH = Nanoseconds(0)
NOTHING = Tinybar(0)

# A libp2p public key as protobuf: type Secp256k1 (2), then 33 bytes of data; wrapped in identity multihash.
_PEER_ID_PREFIX = bytes.fromhex("002508021221")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")  # what only the standard alphabet has must not pass
_ENTITY = re.compile(r"\A(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,18})\Z")


def base64url(data: bytes) -> str:
    """Unpadded base64url of bytes, the form of every digest and signature on the wire."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode()


def unbase64url(text: str, size: int) -> bytes:
    """The `size` bytes that an unpadded base64url text stands for. Raises ValueError unless canonical."""
    standard = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
    data = binascii.a2b_base64(standard, strict_mode=True)
    if len(data) != size or binascii.b2a_base64(data, newline=False) != standard:
        raise ValueError(f"expected the base64url of {size} bytes")
    return data


def digest_of(data: bytes) -> Digest:
    """The name of a blob: the SHA-256 of its bytes."""
    return Digest(base64url(hashlib.sha256(data).digest()))


def peer_id_of(key: PublicKey) -> PeerId:
    """The libp2p peer id of a compressed secp256k1 public key."""
    if len(key) != 33:
        raise ValueError("a compressed secp256k1 public key has 33 bytes")
    return PeerId(base58.b58encode(_PEER_ID_PREFIX + key).decode())


@lru_cache(maxsize=4096)
def public_key_of(peer: PeerId) -> PublicKey:
    """The public key that a peer id embeds. Raises ValueError when it embeds none of ours."""
    if len(peer) > 64:
        raise ValueError("not a peer id")
    raw = base58.b58decode(peer)
    if len(raw) != 39 or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError("not the peer id of a secp256k1 key")
    if (
        base58.b58encode(raw).decode() != peer
    ):  # b58decode forgives spaces at the end: a second name of one key
        raise ValueError("a peer id in another form than base58")
    return PublicKey(raw[6:])


def is_entity(text: str) -> bool:
    """Whether a text is a Hedera entity id, `shard.realm.num`."""
    return _ENTITY.match(text) is not None
