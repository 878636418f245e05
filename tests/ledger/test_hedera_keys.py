from itertools import pairwise

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.hiero import PrivateKey
from ledger.keys import load_key, sdk_key, signing_key
from ledger.session import TransactionClock, nodes_of
from ledger.topic import LedgerError
from protocol.ids import PublicKey
from protocol.transfers import SharedKey

SECRET = bytes(range(1, 33))
KEY = PrivateKey.from_bytes_ecdsa(SECRET)
FORMS = {
    "raw": SECRET,
    "raw in hex": SECRET.hex(),
    "raw in hex with prefix": "0x" + SECRET.hex(),
    "DER": KEY.to_bytes_der(),
    "DER in hex": KEY.to_string_der() + "\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_secp256k1_key(form):
    public = coincurve.PrivateKey(SECRET).public_key.format()
    assert signing_key(FORMS[form]).public.to_bytes_ecdsa() == public


def test_an_ed25519_key_comes_in_der():
    key = PrivateKey.from_bytes_ed25519(SECRET)
    assert signing_key(key.to_string_der()).public.to_string_raw() == key.public_key().to_string_raw()


@pytest.mark.parametrize("form", FORMS)
def test_a_key_file_holds_any_form(tmp_path, form):
    file = tmp_path / "account.key"
    content = FORMS[form]
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert repr(signing_key(load_key(file))) == repr(signing_key(SECRET))


def test_a_key_is_never_shown():
    key = signing_key(SECRET)
    assert SECRET.hex() not in repr(key)
    assert SECRET.hex() not in repr(key.sign)


def everything_said(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


@pytest.mark.parametrize(
    "spoilt", [SECRET.hex()[:-1], SECRET.hex() + "00", "zz" + SECRET.hex(), b"\x30" + SECRET]
)
def test_what_is_no_key_is_not_quoted(tmp_path, spoilt):
    with pytest.raises(LedgerError, match="private key is neither") as caught:
        signing_key(spoilt)
    secret = SECRET.hex()[4:-4]
    assert secret not in everything_said(caught.value)
    file = tmp_path / "account.key"
    file.write_bytes(spoilt.encode() if isinstance(spoilt, str) else spoilt)
    with pytest.raises(LedgerError, match="holds no private key") as caught:
        load_key(file)
    assert secret not in everything_said(caught.value)


@pytest.mark.parametrize("value", [0, 2**256 - 1])
def test_numbers_outside_the_curve_are_no_keys(value):
    with pytest.raises(LedgerError):
        signing_key(value.to_bytes(32, "big"))


def test_a_missing_key_file_names_the_setting(tmp_path):
    with pytest.raises(LedgerError, match=r"cannot read the key file .*check \[ledger\] key_file"):
        load_key(tmp_path / "none")


@pytest.mark.parametrize("key", [b"", b"\x02" * 32, b"\x05" + bytes(32), b"\x02" + b"\xff" * 32])
def test_what_is_no_public_key_is_refused(key):
    with pytest.raises(LedgerError, match="no compressed secp256k1 key"):
        sdk_key(PublicKey(key))


def test_a_threshold_key_counts_its_members():
    keys = tuple(PublicKey(coincurve.PrivateKey().public_key.format()) for _ in range(3))
    proto = sdk_key(SharedKey(2, keys)).to_proto_key()
    assert proto.thresholdKey.threshold == 2
    assert [key.ECDSA_secp256k1 for key in proto.thresholdKey.keys.keys] == list(keys)


def test_a_key_that_is_listed_twice_would_sign_twice():
    key = PublicKey(coincurve.PrivateKey().public_key.format())
    with pytest.raises(LedgerError, match="listed twice"):
        sdk_key(SharedKey(2, (key, key)))


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=50))
def test_valid_starts_increase_by_a_microsecond_whatever_the_clock_does(steps):
    now = iter([10**18 + step - 2_500 for step in steps])
    clock = TransactionClock(lambda: next(now))
    starts = [clock.next() for _ in steps]
    assert all(later - earlier >= 1_000 for earlier, later in pairwise(starts))


@pytest.mark.parametrize(
    "nodes", [{"0.0.3": "nowhere"}, {"0.0.3": ""}, {"x": "127.0.0.1:1"}, {"": "127.0.0.1:1"}]
)
def test_a_node_that_is_none_names_the_setting(nodes):
    with pytest.raises(LedgerError, match=r"\[ledger\] nodes"):
        nodes_of("localnet", nodes)


def test_a_network_that_nobody_knows_needs_nodes():
    with pytest.raises(
        LedgerError, match=r"no nodes are known for the network 'nowhere'; .*\[ledger\] nodes"
    ):
        nodes_of("nowhere", {})
