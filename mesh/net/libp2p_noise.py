"""How do bytes get from the multiplexer into the socket and back, with few copies and few turns of the scheduler?

Stock moves every message through ten copies and, in each direction, a turn of the scheduler per layer. Here a message
is sealed, framed and handed to the kernel in one go, unless the socket is full; and read out of one buffer.
"""

import os
from typing import Final, Protocol

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

from mesh.net.libp2p_socket import BufferedTCPStream

__all__ = ["PLAIN_MAX_BYTES", "NoiseLine"]

PLAIN_MAX_BYTES: Final = 65535 - 16
"""Plain text of one noise message: the length has two bytes, the tag takes 16."""
READ_BYTES: Final = 256 * 1024
"""Read from the socket at once by a connection that fills its first buffer: four messages."""
IDLE_BYTES: Final = 8 * 1024
"""The first buffer of a connection: enough for gossip and calls."""


class _Cipher(Protocol):
    """One direction of the noise protocol: counts its messages itself."""

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes: ...
    def decrypt_with_ad(self, ad: bytes, ciphertext: memoryview) -> bytes: ...


class NoiseLine:
    """A secured connection, whole messages at a time. One task reads; writers take turns, which is the caller's care."""

    def __init__(self, secured: ISecureConn) -> None:
        assert isinstance(secured, SecureSession)
        assert isinstance(secured.conn, NoiseTransportReadWriter)
        raw = secured.conn.read_writer.read_write_closer
        assert isinstance(raw, RawConnection)
        assert isinstance(raw.stream, BufferedTCPStream)
        noise = secured.conn.noise_state.noise_protocol
        self._raw: RawConnection = raw
        self._socket: trio.SocketStream = raw.stream.stream
        self._first = raw.stream.take_buffered()
        self._seal: _Cipher = noise.cipher_state_encrypt
        self._unseal: _Cipher = noise.cipher_state_decrypt
        self._left_over = secured._drain(None)
        self._sealed = bytearray(IDLE_BYTES)
        self._start = self._end = 0
        self.read_at = trio.current_time()
        """When bytes last came."""

    async def receive(self) -> bytes:
        """The plain text of the next message; ``b""`` at the end, also inside a message.

        Raises ``InvalidTag`` for bytes that the peer did not seal, and what the socket raises when it breaks.
        """
        if self._left_over:  # read beyond the negotiation of the multiplexer
            plain, self._left_over = self._left_over, b""
            return plain
        while True:
            sealed, start, have = self._sealed, self._start, self._end - self._start
            size = 2 + (sealed[start] << 8 | sealed[start + 1]) if have >= 2 else 2
            if have > 2 and have >= size:
                with memoryview(sealed) as view:
                    plain = self._unseal.decrypt_with_ad(b"", view[start + 2 : start + size])
                self._start += size
                if plain:
                    return plain
            elif not await self._fill():
                return b""

    async def _fill(self) -> bool:
        """Reads what is there, behind the part of a message that came already; False at the end."""
        have = self._end - self._start
        if not have:
            self._start = self._end = 0
        elif self._start and len(self._sealed) - self._end < READ_BYTES // 2:
            self._sealed[:have] = self._sealed[self._start : self._end]
            self._start, self._end = 0, have
        if len(self._sealed) - self._end < len(self._first) or self._end == len(self._sealed):
            self._sealed += bytes(READ_BYTES - len(self._sealed))
        with memoryview(self._sealed) as view, view[self._end :] as room:
            if self._first:
                count = len(self._first)
                room[:count] = self._first
                self._first = b""
            else:
                count = await self._socket.socket.recv_into(room)
        self._end += count
        self.read_at = trio.current_time()
        return count > 0

    def send_now(self, data: bytes) -> memoryview:
        """Seals ``data`` and gives the socket what it takes at once; returns what is left, which must be sent next.

        Raises ``ConnectionClosedError``: then the connection is of no further use.
        """
        pieces: list[bytes] = []
        for start in range(0, len(data), PLAIN_MAX_BYTES):
            piece = self._seal.encrypt_with_ad(b"", data[start : start + PLAIN_MAX_BYTES])
            pieces += (len(piece).to_bytes(2, "big"), piece)
        view = memoryview(b"".join(pieces))
        try:
            return view[os.write(self._socket.socket.fileno(), view) :]
        except BlockingIOError:
            return view
        except OSError as error:
            raise ConnectionClosedError(f"the connection is gone: {error}", transport="tcp") from error

    async def send(self, sealed: memoryview) -> None:
        """Sends what ``send_now`` left over. Cancelled, or raising ``ConnectionClosedError``: the connection is dead."""
        await self._raw.write(sealed)  # type: ignore[arg-type]  # it only passes on what the socket takes
