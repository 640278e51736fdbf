"""What may happen to a fetch, and what does a fetch ask for?

The events and effects of ``wants.WantSession``, and the one check that every block passes.
"""

from msgspec import Struct

from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import is_raw, verify_cid
from protocols.transfer.dagpb import DirectoryNode, Node, decode_node
from protocols.transfer.names import check_portable
from protocols.units import Cid, PeerId

__all__ = [
    "AskPeer",
    "BlockDenied",
    "BlockMissing",
    "BlockReceived",
    "BlocksStored",
    "CheckedBlock",
    "Done",
    "Effect",
    "Event",
    "Failed",
    "LookUp",
    "LookedUp",
    "PeerLost",
    "PeerReady",
    "PeerReset",
    "StoreBlock",
    "Surveyed",
    "Want",
    "check_block",
]


class CheckedBlock(Struct, frozen=True):
    """A block whose bytes have the hash its name says."""

    cid: Cid
    block: bytes
    node: Node | None
    """None for a leaf, and for a node with a fault."""
    fault: RemoteProtocolError | None = None
    """Why it is no node of ours: the fault of whoever made the tree, not of the peer that sent it."""


def check_block(cid: Cid, block: bytes) -> CheckedBlock:
    """Verifies and decodes; pure. 10 ms for a full directory, so large nodes belong in a thread.

    Raises ``RemoteProtocolError`` (``bad_block``) if the bytes are not those of the name.
    """
    verify_cid(cid, block)
    if is_raw(cid):
        return CheckedBlock(cid, block, None)
    try:
        node = decode_node(block)
        if isinstance(node, DirectoryNode):
            check_portable(child.name for child in node.children)
        return CheckedBlock(cid, block, node)
    except RemoteProtocolError as fault:
        return CheckedBlock(cid, block, None, fault)


class PeerReady(Struct, frozen=True):
    """A stream to the peer is open."""

    peer: PeerId


class PeerReset(Struct, frozen=True):
    """The peer's stream ended; another may follow."""

    peer: PeerId


class PeerLost(Struct, frozen=True):
    """No further stream to this peer will be tried."""

    peer: PeerId


class LookedUp(Struct, frozen=True):
    """What the store said to one ``LookUp`` or several."""

    absent: tuple[Cid, ...] = ()
    leaves: tuple[tuple[Cid, int], ...] = ()
    """Held leaves and their sizes in bytes."""
    nodes: tuple[CheckedBlock, ...] = ()


class BlockReceived(Struct, frozen=True):
    """A block came from a peer and passed ``check_block``."""

    peer: PeerId
    checked: CheckedBlock


class BlockMissing(Struct, frozen=True):
    """The peer does not hold these."""

    peer: PeerId
    cids: tuple[Cid, ...]


class BlockDenied(Struct, frozen=True):
    """The peer may not or will not give us these."""

    peer: PeerId
    cids: tuple[Cid, ...]


class BlocksStored(Struct, frozen=True):
    """These are on disk."""

    cids: tuple[Cid, ...]


Event = PeerReady | PeerReset | PeerLost | LookedUp | BlockReceived | BlockMissing | BlockDenied | BlocksStored


class Want(Struct, frozen=True):
    """A block to look for at home. A leaf counts only with ``leaf_bytes`` (-1: any size)."""

    cid: Cid
    leaf_bytes: int


class LookUp(Struct, frozen=True):
    """Look for these in the store: each is answered once, in a ``LookedUp`` with any others."""

    wants: tuple[Want, ...]


class AskPeer(Struct, frozen=True):
    """Send ``WantBlocks`` with these, at most 64."""

    peer: PeerId
    cids: tuple[Cid, ...]


class StoreBlock(Struct, frozen=True):
    """Make it durable: answered by ``BlocksStored``, in this order."""

    cid: Cid
    block: bytes


class Surveyed(Struct, frozen=True):
    """The exact size of the tree is known and within its limits."""

    content_bytes: int


class Done(Struct, frozen=True):
    """Every block of the tree is on disk."""


class Failed(Struct, frozen=True):
    """The fetch cannot succeed.

    ``code``: ``refused`` (no peer gives us these blocks), ``missing`` (no peer holds one), ``unreachable`` (no peer is
    left), or what ``Walk`` and ``decode_node`` raise about the tree.
    """

    code: str
    detail: str


Effect = LookUp | AskPeer | StoreBlock | Surveyed | Done | Failed
