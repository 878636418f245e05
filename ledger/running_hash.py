"""The running hash of a consensus topic, version 3: SHA-384 over a Java object stream."""

import hashlib
import struct

from protocol.ids import AccountId, Nanoseconds, TopicId

GENESIS = bytes(48)
"""The running hash before the first message."""

# TC_ARRAY with the class descriptor of byte[], then TC_ARRAY with a reference back to it.
_FIRST_ARRAY = bytes.fromhex("757200025b42acf317f8060854e00200007870")
_NEXT_ARRAY = bytes.fromhex("7571007e0000")
_BLOCK = struct.Struct(">q3q3qqiq")


def next_running_hash(
    previous: bytes, payer: AccountId, topic: TopicId, time: Nanoseconds, sequence: int, message: bytes
) -> bytes:
    """The 48 bytes after a message, given the 48 bytes before it."""
    seconds, nanos = divmod(time, 1_000_000_000)
    block = _BLOCK.pack(3, *_numbers(payer), *_numbers(topic), seconds, nanos, sequence)
    stream = hashlib.sha384(b"\xac\xed\x00\x05" + _FIRST_ARRAY + struct.pack(">i", 48) + previous)
    stream.update(b"\x77" + bytes([len(block)]) + block)
    stream.update(_NEXT_ARRAY + struct.pack(">i", 48) + hashlib.sha384(message).digest())
    return stream.digest()


def _numbers(entity: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entity.split("."))
