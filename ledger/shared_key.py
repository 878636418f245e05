"""A key that several share, read from the bytes in which mirrors show it (HAPI basic_types.proto, Key).

By hand: four fields of three messages do not ask for the protobuf package in every auditor. Only the one form
in which a network writes such a key is read; whatever else there is, is none of ours.
"""

from protocol.ids import PublicKey
from protocol.transfers import SharedKey

MAX_KEYS = 128
"""Keys of the longest list that is read."""

# Field number and wire type in one byte each; 2 is a length and that many bytes, 0 a number.
_KEY_THRESHOLD, _KEY_LIST, _KEY_SECP256K1 = b"\x2a", b"\x32", b"\x3a"
_THRESHOLD, _KEYS, _KEY = b"\x08", b"\x12", b"\x0a"
_POINT_BYTES = 33


class _OtherForm(Exception):
    """Bytes that are no such field."""


def shared_key(data: bytes) -> SharedKey | None:
    """The m-of-n key, in the order of the ledger, that a key's protobuf holds; None when it is of another kind.

    All of a plain list must sign. A key twice in a list counts twice on the network, so such a list is none.
    """
    try:
        if data[:1] == _KEY_LIST:
            keys = _listed(_whole(data, _KEY_LIST))
            return _shared(len(keys), keys)
        inner = _whole(data, _KEY_THRESHOLD)
        if inner[:1] != _THRESHOLD:
            return None
        required, rest = _number(inner[1:])
        return _shared(required, _listed(_whole(rest, _KEYS)))
    except _OtherForm:
        return None


def _shared(required: int, keys: tuple[PublicKey, ...]) -> SharedKey | None:
    if not 1 <= required <= len(keys) or len(set(keys)) != len(keys):
        return None
    return SharedKey(required, keys)


def _listed(data: bytes) -> tuple[PublicKey, ...]:
    found: list[PublicKey] = []
    while data:
        if len(found) == MAX_KEYS:
            raise _OtherForm
        key, data = _field(data, _KEY)
        point = _whole(key, _KEY_SECP256K1)
        if len(point) != _POINT_BYTES or point[0] not in (2, 3):
            raise _OtherForm
        found.append(PublicKey(point))
    return tuple(found)


def _whole(data: bytes, tag: bytes) -> bytes:
    """The content of the only field there is."""
    content, rest = _field(data, tag)
    if rest:
        raise _OtherForm
    return content


def _field(data: bytes, tag: bytes) -> tuple[bytes, bytes]:
    """The content of the first field, and what follows it."""
    if data[:1] != tag:
        raise _OtherForm
    length, rest = _number(data[1:])
    if length > len(rest):
        raise _OtherForm
    return rest[:length], rest[length:]


def _number(data: bytes) -> tuple[int, bytes]:
    """A number of at most 28 bits in its shortest form, and what follows it."""
    value = 0
    for place, byte in enumerate(data[:4]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if place and not byte:
                break
            return value, data[place + 1 :]
    raise _OtherForm
