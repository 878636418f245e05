"""How a private key would look in a text that it has leaked into."""

import base64
import json

from ledger.hiero import PrivateKey


def shown_forms(key: bytes) -> tuple[str, ...]:
    """Raw and in DER; as hex, base64, number and Python's own notation, in JSON too.

    key: DER, or 32 raw bytes of secp256k1.
    """
    private = PrivateKey.from_bytes_ecdsa(key) if len(key) == 32 else PrivateKey.from_der(key)
    raw, der = private.to_bytes_raw(), private.to_bytes_der()
    assert der.hex() == private.to_string_der()
    assert raw in der, "so that whatever has the DER in hex has the raw key"
    forms = [str(int.from_bytes(raw)), str(list(raw))[1:-1]]
    for data in (raw, der):
        forms += [data.hex(), data.hex().upper(), repr(data)[2:-1], json.dumps(repr(data))[3:-2]]
        forms += [
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
        ]
    return tuple(forms)
