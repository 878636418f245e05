"""signing: one signature for one body, one kind and one key."""

import hashlib

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import Invalid
from protocol.ids import Digest, PublicKey, Round, Signature, base64url, public_key_of, unbase64url
from protocol.records import PassBody
from protocol.signing import sign, signing_digest, verify
from tests.protocol.world import PEERS, SECRETS, blob

BODY = PassBody(run=blob("run"), round=Round(3))
KEY = public_key_of(PEERS[0])
SIGNATURE = sign(SECRETS[0], "pass", BODY)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_a_signature_verifies():
    verify(KEY, "pass", BODY, SIGNATURE)


def test_signing_is_deterministic_and_its_bytes_are_fixed():
    assert sign(SECRETS[0], "pass", BODY) == SIGNATURE
    body = b'roundabout/1/pass\n{"round":3,"run":"%s"}' % blob("run").encode()
    assert signing_digest("pass", BODY) == unbase64url(digest_of_bytes(body), 32)


def digest_of_bytes(data: bytes) -> Digest:
    return Digest(base64url(hashlib.sha256(data).digest()))


@pytest.mark.parametrize("kind", ["proposal", "vote", "present", "Pass", "pass ", ""])
def test_a_signature_of_one_kind_is_none_of_another(kind):
    with pytest.raises(Invalid, match="does not verify"):
        verify(KEY, kind, BODY, SIGNATURE)


@pytest.mark.parametrize("changes", [{"round": 4}, {"run": blob("other run")}])
def test_a_signature_holds_for_one_run_and_round(changes):
    with pytest.raises(Invalid):
        verify(KEY, "pass", BODY.model_copy(update=changes), SIGNATURE)


def test_a_signature_is_of_one_key():
    with pytest.raises(Invalid):
        verify(public_key_of(PEERS[1]), "pass", BODY, SIGNATURE)


def test_a_high_s_is_refused():
    raw = unbase64url(SIGNATURE, 64)
    s = int.from_bytes(raw[32:], "big")
    assert s <= ORDER // 2
    high = Signature(base64url(raw[:32] + (ORDER - s).to_bytes(32, "big")))
    with pytest.raises(Invalid):
        verify(KEY, "pass", BODY, high)


@given(st.integers(0, 511))
@settings(max_examples=150)
def test_a_flipped_bit_is_refused(bit):
    raw = bytearray(unbase64url(SIGNATURE, 64))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Invalid):
        verify(KEY, "pass", BODY, Signature(base64url(bytes(raw))))


@pytest.mark.parametrize(
    "raw", [b"\0" * 64, b"\xff" * 64, ORDER.to_bytes(32, "big") * 2, (1).to_bytes(32, "big") * 2]
)
def test_numbers_out_of_range_are_refused(raw):
    with pytest.raises(Invalid):
        verify(KEY, "pass", BODY, Signature(base64url(raw)))


@pytest.mark.parametrize("text", ["", "A", "A" * 85, "A" * 87, SIGNATURE + "=", SIGNATURE[:-1] + "é"])
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(Invalid):
        verify(KEY, "pass", BODY, Signature(text))


@pytest.mark.parametrize("key", [b"\x02" + b"\xff" * 32, b"\x05" * 33, b"\0" * 33])
def test_what_is_no_point_verifies_nothing(key):
    with pytest.raises(Invalid):
        verify(PublicKey(key), "pass", BODY, SIGNATURE)


@given(st.binary(min_size=32, max_size=32).filter(lambda s: 0 < int.from_bytes(s, "big") < ORDER))
@settings(max_examples=30)
def test_any_secret_signs_with_low_s(secret):
    signature = sign(secret, "pass", BODY)
    verify(PublicKey(coincurve.PrivateKey(secret).public_key.format()), "pass", BODY, signature)
    assert int.from_bytes(unbase64url(signature, 64)[32:], "big") <= ORDER // 2
