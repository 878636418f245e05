"""The key file."""

import hashlib
import stat
from pathlib import Path

import pytest
from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.identity import Identity, IdentityError, create, identity_of, load
from protocol.ids import peer_id_of, public_key_of

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.pem"


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_file_gives_the_same_identity_back(path: Path, passphrase: str | None) -> None:
    made = create(path, passphrase)
    assert load(path, passphrase) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ")
    assert (b"ENCRYPTED" in path.read_bytes()) is (passphrase is not None)
    assert made.peer == peer_id_of(made.public_key)
    assert public_key_of(made.peer) == made.public_key


def test_the_secret_is_never_shown(path: Path) -> None:
    made = create(path)
    for text in (repr(made), str(made), f"{made}"):
        assert made.secret.hex() not in text
        assert repr(made.secret) not in text
        assert made.peer in text


def test_a_signature_is_compact_low_deterministic_and_valid() -> None:
    identity = identity_of(hashlib.sha256(b"identity").digest())
    for n in range(50):
        digest = hashlib.sha256(bytes([n])).digest()
        signature = identity.sign(digest)
        assert len(signature) == 64
        assert signature == identity.sign(digest)
        assert 0 < int.from_bytes(signature[32:], "big") <= ORDER // 2
        der = cdata_to_der(deserialize_compact(signature))
        assert PublicKey(identity.public_key).verify(der, digest, hasher=None)


def test_only_digests_are_signed() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        identity_of(bytes(31) + b"\1").sign(b"a message")


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    made = create(path)
    with pytest.raises(IdentityError, match="exists already"):
        create(path)
    assert load(path) == made


def refused(path: Path, cause: str, passphrase: str | None = None) -> None:
    with pytest.raises(IdentityError, match=cause) as error:
        load(path, passphrase)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    create(path)
    path.chmod(mode)
    refused(path, f"run: chmod 600 {path}")


def test_a_wrong_or_missing_or_needless_passphrase_is_refused(path: Path, tmp_path: Path) -> None:
    create(path, "right")
    refused(path, "wrong passphrase", "wrong")
    refused(path, "give its passphrase", "")
    refused(path, "give its passphrase")
    create(tmp_path / "open.pem")
    refused(tmp_path / "open.pem", "give no passphrase", "needless")
    with pytest.raises(IdentityError, match="empty passphrase"):
        create(tmp_path / "empty.pem", "")


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()]
)
def test_a_key_of_another_kind_is_refused(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    refused(path, "needs secp256k1")


@pytest.mark.parametrize(
    "text", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(path: Path, text: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(text)
    refused(path, "not a private key in PEM")


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    refused(path, "cannot read .*No such file")
    with pytest.raises(IdentityError, match="cannot write"):
        create(path / "below" / "nothing")


def test_an_identity_cannot_be_changed() -> None:
    identity = identity_of(bytes(31) + b"\1")
    with pytest.raises(AttributeError):
        identity.secret = bytes(32)  # type: ignore[misc]
    assert isinstance(identity, Identity)


def test_a_key_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(IdentityError, match="No space left on device"):
            create(tmp_path / "key.pem")
    assert list(tmp_path.iterdir()) == []
    made = create(tmp_path / "key.pem")
    assert load(tmp_path / "key.pem") == made
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]
