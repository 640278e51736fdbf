"""Which traps of libp2p 0.8.1 are removed, and where?

``apply`` replaces what the library gives no other way to choose; the rest are subclasses that ``Libp2pLink`` uses in
place of the stock ones. ``FIXES`` lists all of them. Evidence: docs/adr/0002-libp2p-fixes.md; a test per fix that fails
on the stock library: tests/net/test_libp2p_fixes.py.
"""

import importlib.metadata
import logging
import socket
from typing import Final

import trio
from fastecdsa.encoding.sec1 import SEC1Encoder
from libp2p.crypto import ecc
from libp2p.io.exceptions import IOException
from libp2p.network import swarm
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.pubsub import pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.tcp import tcp

from mesh.net.libp2p_socket import BufferedTCPStream
from mesh.net.libp2p_yamux import SturdyStream

__all__ = ["FIXES", "LIBP2P_VERSION", "LibraryMismatch", "apply", "check_version"]

LIBP2P_VERSION: Final = "0.8.1"
"""The only version these fixes were measured against."""
RPC_QUEUE_ITEMS: Final = 1024
"""RPCs that wait for one peer: a burst of 200 records fits five times. Stock drops all after 32."""
DIAL_HEAD_START_S: Final = 0.01
"""Head start of the first address. Stock waits 250 ms in every dial, even with one address and a finished dial."""

FIXES: Final = {
    "handler-guard": "libp2p_host: an exception in a stream handler ends the stream, not the process",
    "rpc-guard": "libp2p_pubsub: a malformed RPC costs the peer its stream and score, not us the process",
    "message-guard": "libp2p_pubsub: a message with a garbage key is rejected, not fatal",
    "validator-guard": "libp2p_pubsub: an exception in a validator counts as ignore, not fatal",
    "window-batches": "libp2p_yamux: credit is granted per half window, not per read",
    "window-enforced": "libp2p_frames: a peer that overruns its window loses the connection",
    "few-locks": "libp2p_noise, libp2p_frames, libp2p_yamux, apply: no lock, and so no trip through the scheduler, per step",
    "whole-messages": "libp2p_yamux: a frame fills one noise message, not two",
    "reset-frees": "libp2p_frames, libp2p_yamux: what was not read of a stream goes when the stream is reset",
    "whole-frames": "libp2p_yamux: a cancelled writer does not corrupt the connection",
    "silent-peer": "libp2p_yamux: a frozen peer is noticed",
    "sturdy-muxer": "libp2p_yamux: the chosen multiplexer class is the one that is used",
    "inbound-slots": "libp2p_host: a connection that ended gives its slot back",
    "accept-gate": "libp2p_host: silent sockets do not keep honest peers out",
    "no-auto-dial": "libp2p_host: the library does not dial remembered peers by itself",
    "stream-bound": "libp2p_host: streams per connection are bounded",
    "eager-select": "libp2p_select: a protocol is agreed on in one round trip, not two",
    "buffered-rpc": "libp2p_pubsub: RPCs are read in blocks, not byte by byte",
    "inline-messages": "libp2p_pubsub: no task per message, so duplicates cost almost nothing",
    "no-sender-record": "libp2p_pubsub: no signed address record on every message",
    "own-grafts": "libp2p_pubsub: a peer gets its own control messages, not those of the peers before it",
    "bounded-state": "libp2p_pubsub: no whole messages kept for equivocation, no timestamps kept for ever",
    "seen-cache": "libp2p_pubsub: no thread that outlives the node",
    "socket-reads": "libp2p_socket, apply: 64 KiB socket reads",
    "queue-sizes": "apply: outbound queues of 1024",
    "dial-delay": "apply: no 250 ms wait in every dial",
    "own-port": "apply: a second node on the same port is refused",
    "quiet-logs": "apply: strangers do not write our log; what matters is logged by our own modules",
    "p256": "apply: libp2p's P-256 keys work with fastecdsa 4",
}


class LibraryMismatch(RuntimeError):
    """Another libp2p is installed than the one these fixes were made for. Run `make setup` to get the pinned one."""


def check_version(installed: str | None = None) -> None:
    """Raises ``LibraryMismatch`` unless libp2p is exactly the pinned version."""
    found = installed or importlib.metadata.version("libp2p")
    if found != LIBP2P_VERSION:
        raise LibraryMismatch(
            f"libp2p {found} is installed, but this node is tested with {LIBP2P_VERSION} only: its safety against "
            "hostile packets rests on fixes for that version. "
            f"Run `make setup`, or `pip install libp2p=={LIBP2P_VERSION}`."
        )


class _LightNetStream(NetStream):
    """A stream whose reads and writes take no locks for a state that only they change."""

    async def read(self, n: int | None = None) -> bytes:
        """As the stock method: raises ``StreamEOF``, ``StreamReset`` or ``StreamError``."""
        if self._state in (StreamState.RESET, StreamState.ERROR):
            raise StreamReset("the stream was reset")
        try:
            return await self.muxed_stream.read(n)
        except MuxedStreamEOF as error:
            closed = self._state in (StreamState.CLOSE_WRITE, StreamState.CLOSE_BOTH)
            self._state = StreamState.CLOSE_BOTH if closed else StreamState.CLOSE_READ
            raise StreamEOF() from error
        except MuxedStreamError as error:
            self._state = StreamState.RESET
            raise StreamReset() from error

    async def write(self, data: bytes) -> None:
        """As the stock method: raises ``StreamClosed`` or ``StreamReset``."""
        if self._state in (StreamState.RESET, StreamState.ERROR):
            raise StreamReset("the stream was reset")
        if self._state in (StreamState.CLOSE_WRITE, StreamState.CLOSE_BOTH):
            raise StreamClosed("the stream was closed for sending")
        try:
            await self.muxed_stream.write(data)
        except (MuxedStreamError, IOException, RawConnError) as error:
            self._state = StreamState.RESET
            raise StreamReset() from error


class _LongRpcQueue(RpcQueue):
    """The queue of RPCs for one peer, with room for a burst."""

    def __init__(self) -> None:
        super().__init__(max_size=RPC_QUEUE_ITEMS)


def _reuse_address_only(sock: trio.socket.SocketType) -> None:
    """Restart without waiting for old connections to expire, but never share a port with a living node."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def apply() -> None:
    """Replaces names inside libp2p, once and for the whole process; doing it again changes nothing.

    Raises ``LibraryMismatch`` before it touches anything.
    """
    check_version()
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    setattr(swarm, "_HAPPY_EYEBALLS_DELAY", DIAL_HEAD_START_S)  # noqa: B010  mypy: the stock names are Final or classes
    setattr(tcp, "TrioTCPStream", BufferedTCPStream)  # noqa: B010
    setattr(tcp, "_set_reuse_flags", _reuse_address_only)  # noqa: B010
    setattr(pubsub, "RpcQueue", _LongRpcQueue)  # noqa: B010
    setattr(swarm_connection, "NetStream", _LightNetStream)  # noqa: B010
    setattr(yamux, "YamuxStream", SturdyStream)  # noqa: B010
    setattr(ecc, "SEC1Encoder", SEC1Encoder())  # noqa: B010  fastecdsa 4 made the methods of its class instance methods
