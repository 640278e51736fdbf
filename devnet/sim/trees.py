"""Which trees do transfers meet in tests and simulations? Built in memory, honest or hostile."""

from protocols.transfer.cid import node_cid, raw_cid
from protocols.transfer.unixfs import Importer, Root, directory
from protocols.units import Cid

__all__ = [
    "DIRECTORY_DATA",
    "Blocks",
    "Layout",
    "add_leaf",
    "add_node",
    "field",
    "file_data",
    "link",
    "pattern",
    "plant",
    "varint",
]

Blocks = dict[Cid, bytes]
Layout = bytes | dict[str, "Layout"]
"""A file's bytes or a directory's entries."""


def pattern(size: int) -> bytes:
    """The bytes that ``devnet/interop/unixfs`` gives to the npm importer."""
    return bytes((i * 31 + (i >> 8) * 7 + (i >> 16) * 13) & 255 for i in range(size))


def plant(layout: Layout, blocks: Blocks, chunk_bytes: int = 64, width: int = 3) -> Root:
    """The layout's blocks, added to ``blocks``; small leaves and narrow nodes make small data deep."""
    if isinstance(layout, bytes):
        importer = Importer(chunk_bytes=chunk_bytes, width=width)
        blocks.update(importer.feed(layout))
        blocks.update(importer.finish())
        return importer.root
    root, block = directory({name: plant(part, blocks, chunk_bytes, width) for name, part in layout.items()})
    blocks[root.cid] = block
    return root


def varint(value: int) -> bytes:
    """A protobuf varint in its shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def field(tag: int, body: bytes) -> bytes:
    """A protobuf field with a length."""
    return bytes((tag,)) + varint(len(body)) + body


def link(cid: bytes, name: bytes, size: int) -> bytes:
    """One dag-pb link, whatever it says."""
    return field(0x12, field(0x0A, cid) + field(0x12, name) + b"\x18" + varint(size))


def file_data(total: int, sizes: list[int]) -> bytes:
    """UnixFS data of a file node, whatever it says."""
    return field(0x0A, b"\x08\x02\x18" + varint(total) + b"".join(b"\x20" + varint(size) for size in sizes))


DIRECTORY_DATA = field(0x0A, b"\x08\x01")


def add_leaf(blocks: Blocks, data: bytes) -> Cid:
    """A raw leaf, added to the blocks."""
    cid = raw_cid(data)
    blocks[cid] = data
    return cid


def add_node(blocks: Blocks, data: bytes) -> Cid:
    """A dag-pb node, whatever it says, added to the blocks."""
    cid = node_cid(data)
    blocks[cid] = data
    return cid
