"""ids: the text forms of digests, signatures, peers and entities are unique."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import (
    PublicKey,
    base64url,
    digest_of,
    is_entity,
    peer_id_of,
    public_key_of,
    unbase64url,
)
from tests.protocol.world import PEERS


@given(st.binary(max_size=80))
def test_base64url_round_trip(data):
    assert unbase64url(base64url(data), len(data)) == data


@given(st.text(max_size=50), st.integers(0, 48))
def test_unbase64url_takes_one_text_per_value(text, size):
    try:
        data = unbase64url(text, size)
    except ValueError:
        return
    assert len(data) == size
    assert base64url(data) == text


@pytest.mark.parametrize("text", ["AAA=", "AA A", "AB", "AA\n", "+/8", "é", "A", "AAAA"])
def test_unbase64url_refuses_padding_spare_bits_and_other_alphabets(text):
    size = 2 if text != "AB" else 1  # AB has spare bits set: AA is the text of that byte
    with pytest.raises(ValueError):  # noqa: PT011
        unbase64url(text, size)


def test_digest_of_is_the_sha256():
    assert digest_of(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@given(st.binary(min_size=33, max_size=33))
def test_peer_id_round_trip(key):
    assert public_key_of(peer_id_of(PublicKey(key))) == key


def test_peer_ids_are_those_of_libp2p():
    assert all(peer.startswith("16Uiu2HA") for peer in PEERS)
    assert base58.b58decode(PEERS[0])[:6] == bytes.fromhex("002508021221")


@pytest.mark.parametrize("change", [" {}", "{} ", "{}\n", "1{}", "{}1", "{}\u00e9"])
def test_a_peer_has_one_id(change):
    with pytest.raises(ValueError):  # noqa: PT011
        public_key_of(change.format(PEERS[0]))


@pytest.mark.parametrize(
    "peer", ["", "Qm", "l0OI", "1" * 39, "1" * 65, "12D3KooWRfYU5FaY9SmJcRD5Ku7c1XMBRqV6oM4nsnGQ1QRakSJi"]
)
def test_what_embeds_no_secp256k1_key_is_no_peer(peer):
    with pytest.raises(ValueError):  # noqa: PT011
        public_key_of(peer)


def test_a_key_has_33_bytes():
    with pytest.raises(ValueError, match="33"):
        peer_id_of(PublicKey(b"\x02" * 32))


@pytest.mark.parametrize("text", ["0.0.0", "0.0.1234", "9999999999.1.9999999999999999999"])
def test_is_entity(text):
    assert is_entity(text)


@pytest.mark.parametrize(
    "text", ["", "0.0", "0.0.01", "00.0.1", "0.0.1\n", "0.0.-1", "0.0.1.2", "0.0.١", " 0.0.1"]
)
def test_is_no_entity(text):
    assert not is_entity(text)
