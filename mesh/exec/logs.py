"""How is a log chained, so that an audit which re-executes the job gets the same head?

The head must not depend on when chunks arrived or how the two streams interleaved, so each stream is cut into fixed
blocks:

    head[0]   = sha256("mesh/log/1" || stream)
    head[i+1] = sha256(head[i] || block[i])     block = 4096 bytes, the last one shorter, never empty
    log_head  = sha256("mesh/log-head/1" || len(stdout) || head of stdout || len(stderr) || head of stderr)

Lengths are big-endian u64; ``stream`` is one byte, 1 or 2.
"""

from typing import Final

from mesh.exec.executor import Stream
from protocols.hashing import sha256
from protocols.units import Hash32

__all__ = ["LOG_BLOCK_BYTES", "StreamChain", "log_head", "log_head_of"]

LOG_BLOCK_BYTES: Final = 4096
"""Bytes per link: one page, so a reader can verify any page of a streamed log against the heads it has seen."""

_CHAIN_TAG: Final = b"mesh/log/1"
_HEAD_TAG: Final = b"mesh/log-head/1"


class StreamChain:
    """The running head of one stream. ``append`` in any chunking gives the same ``head()``; memory is one block."""

    def __init__(self, stream: Stream) -> None:
        self._head = sha256(_CHAIN_TAG, bytes([stream]))
        self._partial = b""
        self.length_bytes = 0

    def append(self, data: bytes) -> None:
        """Add the next bytes of the stream."""
        self.length_bytes += len(data)
        buffer = self._partial + data
        whole = len(buffer) - len(buffer) % LOG_BLOCK_BYTES
        for start in range(0, whole, LOG_BLOCK_BYTES):
            self._head = sha256(self._head, buffer[start : start + LOG_BLOCK_BYTES])
        self._partial = buffer[whole:]

    def head(self) -> Hash32:
        """The head as if the stream ended here."""
        return sha256(self._head, self._partial) if self._partial else self._head


def log_head(stdout: StreamChain, stderr: StreamChain) -> Hash32:
    """One 32-byte head for both streams, as signed in a ResultCommit."""
    return sha256(
        _HEAD_TAG,
        stdout.length_bytes.to_bytes(8, "big"),
        stdout.head(),
        stderr.length_bytes.to_bytes(8, "big"),
        stderr.head(),
    )


def log_head_of(stdout: bytes, stderr: bytes) -> Hash32:
    """The head of two whole logs, as an auditor holds them."""
    out, err = StreamChain(Stream.STDOUT), StreamChain(Stream.STDERR)
    out.append(stdout)
    err.append(stderr)
    return log_head(out, err)
