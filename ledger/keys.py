"""Account keys: a private one that signs and is never shown, public ones that accounts and topics have."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ledger.hiero import KeyList, PrivateKey
from ledger.hiero import PublicKey as SdkPublicKey
from ledger.topic import LedgerError
from protocol.ids import PublicKey
from protocol.transfers import SharedKey

_NO_KEY = (
    "the account's private key is neither DER nor 32 raw bytes of secp256k1, in hex; check [ledger] key_file"
)
_MAX_KEY_FILE = 4_096


class SigningKey:
    """A private key that signs; its representation shows the public half only."""

    __slots__ = ("_private", "public")

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self.public: SdkPublicKey = private.public_key()

    def sign(self, body: bytes) -> bytes:
        """The signature that Hedera expects of this kind of key."""
        signature: bytes = self._private.sign(body)
        return signature

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.to_string_raw()})"


def signing_key(key: str | bytes) -> SigningKey:
    """The private key in DER, or 32 raw bytes of secp256k1; as bytes or in hex. Raises LedgerError."""
    # The SDK's own errors quote the key, so none of them may pass or be chained.
    try:
        data = bytes.fromhex(key.strip().removeprefix("0x")) if isinstance(key, str) else key
        private = PrivateKey.from_bytes_ecdsa(data) if len(data) == 32 else PrivateKey.from_der(data)
    except ValueError:
        private = None
    if private is None:
        raise LedgerError(_NO_KEY)
    return SigningKey(private)


def load_key(file: Path) -> bytes:
    """The private key in a file, as `signing_key` takes it. Raises LedgerError, which never quotes it."""
    try:
        with file.open("rb") as source:
            data = source.read(_MAX_KEY_FILE + 1)
    except OSError as error:
        raise LedgerError(
            f"cannot read the key file {file}: {error.strerror}; check [ledger] key_file"
        ) from error
    with suppress(ValueError):
        data = bytes.fromhex(data.decode("ascii").strip().removeprefix("0x"))
    try:
        signing_key(data)
    except LedgerError:
        raise LedgerError(
            f"{file} holds no private key, neither DER nor 32 bytes of secp256k1, in hex or not"
        ) from None
    return data


def sdk_key(key: PublicKey | SharedKey) -> SdkPublicKey | KeyList:
    """The SDK's form of a public key or a shared key. Raises LedgerError."""
    if isinstance(key, SharedKey):
        if not 1 <= key.required <= len(key.keys):
            raise LedgerError(
                f"a threshold of {key.required} of {len(key.keys)} keys can never be met; correct it"
            )
        # Hedera counts a key as often as the list has it, so that its holder would sign for several.
        if len(set(key.keys)) < len(key.keys):
            raise LedgerError("a key is listed twice in a shared key; name each member once")
        return KeyList([_public(member) for member in key.keys], threshold=key.required)
    return _public(key)


def any_of(own: SdkPublicKey, keys: Sequence[PublicKey]) -> KeyList:
    """The key that our own and each of some others can sign for alone. Raises LedgerError."""
    return KeyList([own, *(_public(key) for key in keys)], threshold=1)


def _public(key: PublicKey) -> SdkPublicKey:
    try:
        if len(key) == 33:
            return SdkPublicKey.from_bytes_ecdsa(key)
    except ValueError:
        pass
    raise LedgerError(f"{key.hex()} is no compressed secp256k1 key of 33 bytes; correct it")
