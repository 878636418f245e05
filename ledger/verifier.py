"""A process that checks signatures for another one: `python -m ledger.verifier`.

Reads batches from standard input until it ends: the number of checks as four bytes, big-endian, then the checks,
ROW bytes each: key, digest, signature. Answers each batch on standard output: a byte a check, 1 when it holds.
"""

import sys
from typing import BinaryIO

from protocol.ecdsa import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES, is_signed

COUNT_BYTES = 4
ROW = KEY_BYTES + DIGEST_BYTES + SIGNATURE_BYTES
_DIGEST = KEY_BYTES + DIGEST_BYTES


def check(rows: bytes) -> bytes:
    """A byte for each row, 1 when its signature is the key's over the digest."""
    return bytes(
        is_signed(
            rows[at : at + KEY_BYTES], rows[at + KEY_BYTES : at + _DIGEST], rows[at + _DIGEST : at + ROW]
        )
        for at in range(0, len(rows), ROW)
    )


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer every batch until the source ends."""
    while len(header := source.read(COUNT_BYTES)) == COUNT_BYTES:
        rows = source.read(int.from_bytes(header, "big") * ROW)
        sink.write(check(rows))
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
