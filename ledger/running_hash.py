"""The Hedera Consensus Service running hash, version 3 (vectors: tests/vectors/hcs_running_hash_v3.json).

Each message extends the topic's history by one SHA-384 over a Java `ObjectOutputStream`: the previous hash, a
block of integers (who paid, which topic, when, which place) and the SHA-384 of the message. It chains, it
does not authenticate.
"""

import hashlib
import struct
from functools import lru_cache

Entity = tuple[int, int, int]
"""A Hedera entity, (shard, realm, num)."""

RUNNING_HASH_VERSION = 3
RUNNING_HASH_BYTES = 48
INITIAL_RUNNING_HASH = bytes(RUNNING_HASH_BYTES)
"""The running hash of a topic before its first message."""

# The stream's framing, so that the bytes are those a Java node hashes: magic, version; `byte[]` as an array
# with its class descriptor; one block-data segment; a second `byte[]` that refers back to that descriptor.
_MAGIC = bytes.fromhex("aced0005")
_BYTE_ARRAY = bytes.fromhex("757200025b42acf317f8060854e00200007870")
_BYTE_ARRAY_AGAIN = bytes.fromhex("7571007e0000")
_BLOCK = struct.Struct(">q3q3qqiq")
_BLOCK_HEADER = bytes((0x77, _BLOCK.size))


def next_running_hash(
    previous: bytes, payer: Entity | str, topic: Entity | str, time_ns: int, sequence: int, message: bytes
) -> bytes:
    """The running hash after a message, from the one before it.

    previous: 48 bytes, INITIAL_RUNNING_HASH before the first. payer, topic: (shard, realm, num), or the text
    `shard.realm.num`. time_ns: consensus time, nanoseconds since the epoch. sequence: the message's number,
    from 1. Returns 48 bytes. Raises ValueError when `previous` has another length or an entity is malformed.
    """
    if len(previous) != RUNNING_HASH_BYTES:
        raise ValueError(f"a running hash has {RUNNING_HASH_BYTES} bytes, not {len(previous)}")
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    block = _BLOCK.pack(RUNNING_HASH_VERSION, *_entity(payer), *_entity(topic), seconds, nanos, sequence)
    stream = b"".join(
        (
            _MAGIC,
            _BYTE_ARRAY,
            RUNNING_HASH_BYTES.to_bytes(4, "big"),
            previous,
            _BLOCK_HEADER,
            block,
            _BYTE_ARRAY_AGAIN,
            RUNNING_HASH_BYTES.to_bytes(4, "big"),
            hashlib.sha384(message).digest(),
        )
    )
    return hashlib.sha384(stream).digest()


@lru_cache(maxsize=1024)
def _entity(entity: Entity | str) -> Entity:
    if not isinstance(entity, str):
        return entity
    parts = entity.split(".")
    if len(parts) != 3:
        raise ValueError(f"{entity!r} is not an entity id; write it as shard.realm.num")
    return int(parts[0]), int(parts[1]), int(parts[2])
