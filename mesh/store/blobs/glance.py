"""Which answers about a few blocks can be had without a thread, and how are the others had with one?

Those ``..._at_once`` wait neither for the disk nor for a lock, and answer None where they would have to.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from mesh.store.blobs.disk import BlobDisk, Lease
from mesh.store.blobs.reach import Reach, reach_steps
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import is_raw
from protocols.transfer.dagpb import children_of
from protocols.transfer.steps import CheckedBlock, LookedUp, Want, check_block
from protocols.transfer.unixfs import Block
from protocols.units import Cid

__all__ = ["below_at_once", "look_up", "look_up_at_once", "reach_at_once", "read_at_once", "read_some"]

_GLANCE: Final = 8
"""Names looked for without a thread: 5 us each, a hop 300 us and, while jobs run, some milliseconds of waiting."""


def read_some(disk: BlobDisk, cids: Sequence[Cid], max_bytes: int) -> list[bytes | None]:
    """Blocks in the order of the names, up to the one that fills ``max_bytes``; None for one that is not here."""
    blocks: list[bytes | None] = []
    size = 0
    for cid in cids:
        block = disk.read(cid)
        blocks.append(block)
        size += len(block or b"")
        if size >= max_bytes:
            break
    return blocks


def read_at_once(disk: BlobDisk, cids: Sequence[Cid], max_bytes: int) -> list[bytes | None] | None:
    """As ``read_some``, from memory; None unless all are there."""
    if len(cids) > _GLANCE:
        return None
    blocks: list[bytes | None] = []
    size = 0
    for cid in cids:
        block = disk.read_at_once(cid)
        if block is None:
            return None
        blocks.append(block)
        size += len(block)
        if size >= max_bytes:
            break
    return blocks


def reach_at_once(disk: BlobDisk, root: Cid) -> Reach | None:
    """What is below a small tree that was just written or read; None for any other."""
    reach = Reach()
    left = _GLANCE

    def read(cid: Cid) -> bytes | None:
        nonlocal left
        left -= 1
        return disk.read_at_once(cid) if left >= 0 else None

    for _ in reach_steps(read, (root,), reach):
        return None
    return reach if reach.complete else None


def below_at_once(disk: BlobDisk, root: Cid, most_blocks: int, most_bytes: int) -> list[Block]:
    """Blocks below a small tree's root, as far as they are at hand, the nearest first; none of a tree beyond the bounds."""
    found: dict[Cid, bytes] = {}
    nodes = deque([root])
    while nodes:
        for child in dict.fromkeys(_children_at_once(disk, nodes.popleft())):
            if child in found:
                continue
            most_blocks -= 1
            block = disk.read_at_once(child) if most_blocks >= 0 else None
            most_bytes -= len(block or b"")
            if most_blocks < 0 or most_bytes < 0:
                return []
            if block is None:
                continue
            found[child] = block
            if not is_raw(child):
                nodes.append(child)
    return list(found.items())


def _children_at_once(disk: BlobDisk, node: Cid) -> tuple[Cid, ...]:
    block = disk.read_at_once(node)
    try:
        return () if block is None else children_of(node, block)
    except RemoteProtocolError:
        return ()  # no tree of ours, and nobody fetches past it


def look_up_at_once(disk: BlobDisk, wants: Sequence[Want], lease: Lease) -> LookedUp | None:
    """As ``look_up``; None if there are many, a block would have to be read, or another thread is at the disk."""
    if len(wants) > _GLANCE:
        return None
    absent: list[Cid] = []
    leaves: list[tuple[Cid, int]] = []
    nodes: list[CheckedBlock] = []
    for want in wants:
        size = disk.size_at_once(want.cid, lease)
        if size is None:
            return None
        if size < 0 or (is_raw(want.cid) and want.leaf_bytes not in (-1, size)):
            absent.append(want.cid)
        elif is_raw(want.cid):
            leaves.append((want.cid, size))
        elif (block := disk.read_at_once(want.cid)) is not None:
            nodes.append(check_block(want.cid, block))
        else:
            return None
    return LookedUp(tuple(absent), tuple(leaves), tuple(nodes))


def look_up(disk: BlobDisk, wants: Sequence[Want], lease: Lease) -> LookedUp:
    """Which of these are here. Nodes are read and verified, leaves measured."""
    absent: list[Cid] = []
    leaves: list[tuple[Cid, int]] = []
    nodes: list[CheckedBlock] = []
    for want in wants:
        if is_raw(want.cid):
            size = disk.size(want.cid, lease)
            if size >= 0 and want.leaf_bytes in (-1, size):
                leaves.append((want.cid, size))
            else:
                absent.append(want.cid)
            continue
        block = disk.read(want.cid, lease)
        if block is None:
            absent.append(want.cid)
        else:
            nodes.append(check_block(want.cid, block))
    return LookedUp(tuple(absent), tuple(leaves), tuple(nodes))
