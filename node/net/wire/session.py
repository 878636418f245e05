"""A Noise session that moves large data with little work; the same bytes on the wire as libp2p's own.

libp2p's takes a lock, three reads and five copies for each message, and cuts what the multiplexer writes into one
full message and a tiny one. This one seals and opens messages in place, many for each call of the socket.
"""

from typing import Any

from cryptography.exceptions import InvalidTag
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

MAX_PLAIN = 65_519
"""Bytes that one message can carry."""
_TAG = 16
_READ = 262_144
"""Bytes asked of the socket at once."""


class Session(SecureSession):
    """Takes over from a session whose handshake is done; one task reads, and one at a time writes."""

    def __init__(self, made: SecureSession, raw: IRawConnection) -> None:
        assert isinstance(made.conn, NoiseTransportReadWriter)
        super().__init__(
            local_peer=made.local_peer,
            local_private_key=made.local_private_key,
            remote_peer=made.remote_peer,
            remote_permanent_pubkey=made.remote_permanent_pubkey,
            is_initiator=made.is_initiator,
            conn=made.conn,
        )
        protocol: Any = made.conn.noise_state.noise_protocol
        sealing, opening = protocol.cipher_state_encrypt, protocol.cipher_state_decrypt
        self._raw = raw
        self._seal, self._sealed = sealing.cipher.cipher, int(sealing.n)
        self._open, self._opened = opening.cipher.cipher, int(opening.n)
        self._rest = b""
        """Bytes from the socket that are not a whole message yet."""
        self._plain = bytearray()
        """What has been opened and not read."""
        self._at = 0

    async def write(self, data: bytes) -> None:
        """Send data. Raises what the connection raises."""
        await self.write_messages([data[at : at + MAX_PLAIN] for at in range(0, len(data), MAX_PLAIN)])

    async def write_messages(self, messages: list[bytes]) -> None:
        """Send messages of at most MAX_PLAIN bytes, each as one of the cipher's, all with one call."""
        out = bytearray(sum(map(len, messages)) + (2 + _TAG) * len(messages))
        room, at = memoryview(out), 0
        for message in messages:
            end = at + 2 + len(message) + _TAG
            room[at : at + 2] = (len(message) + _TAG).to_bytes(2, "big")
            self._seal.encrypt_into(_nonce(self._sealed), message, None, room[at + 2 : end])
            self._sealed += 1
            at = end
        await self._raw.write(out)  # type: ignore[arg-type]

    async def read(self, n: int | None = None) -> bytes:
        """`n` bytes, or fewer at the end; without `n`, what is there. Raises ConnectionClosedError."""
        while self.buffered == 0 if n is None else self.buffered < n:
            if not await self.fill():
                if self.buffered:
                    break
                raise ConnectionClosedError("Connection closed")
        return self.take(self.buffered if n is None else min(n, self.buffered))

    @property
    def buffered(self) -> int:
        """Bytes that can be taken at once."""
        return len(self._plain) - self._at

    def peek(self, count: int) -> memoryview:
        """The next bytes, which stay; there must be as many. Let go of the view before anything else is called."""
        return memoryview(self._plain)[self._at : self._at + count]

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        self._at += count
        if self._at == len(self._plain):
            self._plain.clear()
            self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes; there must be as many."""
        data = bytes(self.peek(count))
        self.skip(count)
        return data

    async def fill(self) -> bool:
        """Open what the socket has next; False at its end. Raises ConnectionClosedError when it was tampered with."""
        data = await self._raw.read(_READ)
        if not data:
            return False
        if self._at:
            del self._plain[: self._at]
            self._at = 0
        if self._rest:
            data = self._rest + data
        view, at = memoryview(data), 0
        while at + 2 <= len(data):
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            try:
                self._plain += self._open.decrypt(_nonce(self._opened), view[at + 2 : end], None)
            except InvalidTag:
                raise ConnectionClosedError("a message that was tampered with") from None
            self._opened += 1
            at = end
        self._rest = bytes(view[at:])
        return True


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "little")


def quickened(made: ISecureConn, raw: IRawConnection) -> Session:
    """The same session, once its handshake is done."""
    assert isinstance(made, SecureSession)
    return Session(made, raw)
