import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.hiero import PrivateKey, basic_types_pb2
from ledger.keys import sdk_key
from ledger.shared_key import MAX_KEYS, shared_key
from protocol.ids import PublicKey
from protocol.transfers import SharedKey

Key = basic_types_pb2.Key


def public(number: int) -> PublicKey:
    return PublicKey(coincurve.PrivateKey.from_int(number).public_key.format())


KEYS = tuple(public(number) for number in range(1, 6))


def threshold(required: int, *keys: Key) -> Key:
    key = Key()
    key.thresholdKey.threshold = required
    key.thresholdKey.keys.keys.extend(keys)
    return key


def single(key: bytes) -> Key:
    return Key(ECDSA_secp256k1=key)


@pytest.mark.parametrize(("required", "count"), [(1, 1), (1, 5), (3, 5), (5, 5), (2, MAX_KEYS)])
def test_what_the_sdk_writes_is_read(required, count):
    keys = tuple(public(number) for number in range(1, count + 1))
    data = sdk_key(SharedKey(required, keys)).to_proto_key().SerializeToString()
    assert shared_key(data) == SharedKey(required, keys)


def test_all_of_a_plain_list_must_sign():
    key = Key()
    key.keyList.keys.extend(map(single, KEYS))
    assert shared_key(key.SerializeToString()) == SharedKey(5, KEYS)


ED25519 = Key(ed25519=PrivateKey.from_bytes_ed25519(bytes([1]) * 32).public_key().to_bytes_raw())


@pytest.mark.parametrize(
    "key",
    [
        Key(),
        single(KEYS[0]),
        ED25519,
        Key(keyList=basic_types_pb2.KeyList()),
        threshold(0, single(KEYS[0])),
        threshold(3, single(KEYS[0]), single(KEYS[1])),
        threshold(1),
        threshold(2, single(KEYS[0]), single(KEYS[0])),
        threshold(1, single(KEYS[0]), ED25519),
        threshold(1, single(KEYS[0]), threshold(1, single(KEYS[1]))),
        threshold(1, single(KEYS[0][:-1])),
        threshold(1, single(b"\x04" + KEYS[0][1:])),
        threshold(2**31, single(KEYS[0])),
        threshold(1, *(single(public(number)) for number in range(1, MAX_KEYS + 2))),
    ],
)
def test_any_other_key_is_none_of_ours(key):
    assert shared_key(key.SerializeToString()) is None


GOOD = threshold(3, *map(single, KEYS)).SerializeToString()


SMALL = threshold(1, single(KEYS[0])).SerializeToString()
LONGER = b"\x2a" + bytes([SMALL[1] + 1]) + b"\x08\x81\x00" + SMALL[4:]
"""The same with its threshold in two bytes."""


def test_another_form_would_be_the_same_key_to_a_network():
    assert Key.FromString(LONGER) == Key.FromString(SMALL)


@pytest.mark.parametrize("data", [GOOD + b"\x00", GOOD + GOOD, GOOD[:-1], LONGER])
def test_another_form_of_the_same_key_is_none(data):
    assert shared_key(data) is None


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_what_is_read_is_what_a_network_writes(at, inserted, removed):
    """Whatever is changed: what is still read has only one form, and a network would read the same."""
    data = GOOD[:at] + inserted + GOOD[at + removed :]
    found = shared_key(data)
    if found is not None:
        assert threshold(found.required, *map(single, found.keys)).SerializeToString() == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_junk_is_no_key(data):
    assert shared_key(data) is None
