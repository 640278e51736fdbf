"""Which blocks may go when room is needed? Those that no pin reaches and no running work relies on, oldest first."""

from array import array
from collections.abc import Iterator

from msgspec import Struct

from mesh.store.blobs.disk import BlobDisk, disk_bytes
from mesh.store.blobs.reach import Reach, reach_steps

__all__ = ["Collected", "collect_steps"]


class Collected(Struct):
    """What a collection came to; final when its steps are through."""

    kept_blocks: int = 0
    removed_blocks: int = 0
    removed_bytes: int = 0


def collect_steps(disk: BlobDisk, target_bytes: int, result: Collected) -> Iterator[None]:
    """Removes until the store takes at most ``target_bytes``, or nothing removable is left.

    Each step reads 32 nodes, 1,024 rows or one of 256 directories. A block that appears or gets a lease meanwhile stays;
    one whose pin is added meanwhile may go, so pin a root before the work that relies on it, and let a lease cover the work.
    """
    reach = Reach()
    yield from reach_steps(disk.read, disk.rows.roots(), reach)
    pinned = reach.freeze()
    ages, sizes = array("q"), array("q")
    for shard in disk.scan():
        for cid, size, written_ns in shard:
            if cid not in pinned:
                ages.append(written_ns)
                sizes.append(disk_bytes(size))
        yield
    youngest = _youngest_to_go(ages, sizes, disk.used_bytes() - target_bytes)
    for shard in disk.scan():
        for cid, size, written_ns in shard:
            if written_ns <= youngest and cid not in pinned and disk.remove(cid, unless_leased=True):
                result.removed_blocks += 1
                result.removed_bytes += disk_bytes(size)
            else:
                result.kept_blocks += 1
        yield
    disk.rows.shrink()


def _youngest_to_go(ages: "array[int]", sizes: "array[int]", need_bytes: int) -> int:
    """The time of writing up to which removable blocks go, so that ``need_bytes`` come free; -1 for none."""
    youngest, freed = -1, 0
    for at in sorted(range(len(ages)), key=ages.__getitem__):
        if freed >= need_bytes:
            break
        youngest = ages[at]
        freed += sizes[at]
    return youngest
