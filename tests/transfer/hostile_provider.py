"""What does a provider of wrong, oversized or undeclared bytes look like? A process of its own, over the real link.

Run with the kind of wrong and ``side`` or ``link``. Prints its address, the root and the names of the leaves as JSON;
serves ``/mesh/blob/1`` until its input ends.
"""

import hashlib
import json
import sys

import trio

from devnet.sim.trees import Blocks, Layout, add_leaf, add_node, file_data, link, pattern, plant
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.transfer.streams import FrameReader
from protocols.transfer.cid import is_raw
from protocols.transfer.frames import (
    BLOB_PROTOCOL,
    MAX_FRAME_BYTES,
    BlockFrame,
    Missing,
    decode_want,
    encode_frame,
)
from protocols.units import Cid, PeerId

TREE: Layout = {"answer": b"42", "table": pattern(30_000)}


def honest() -> tuple[Cid, Blocks]:
    """The tree as the provider should give it, in leaves of 1,000 bytes."""
    blocks: Blocks = {}
    return plant(TREE, blocks, 1000, 5).cid, blocks


def lying() -> tuple[Cid, Blocks]:
    """A file that says it has 10 bytes; its only leaf has 100,000."""
    blocks: Blocks = {}
    leaf = add_leaf(blocks, pattern(100_000))
    return add_node(blocks, link(leaf, b"", 10) + file_data(10, [10])), blocks


def answer(kind: str, cid: Cid, blocks: Blocks) -> bytes:
    """What is sent for one wanted block."""
    block = blocks.get(cid)
    if block is None:
        return encode_frame(Missing((cid,)))
    if kind == "wrong bytes" and len(block) == 1000:
        return encode_frame(BlockFrame(cid, bytes(1000)))
    if kind == "a frame over the bound":
        return (MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(100_000)
    if kind == "more than the leaf may have" and len(block) == 1000:
        return encode_frame(BlockFrame(cid, block + bytes(1_000_000)))
    return encode_frame(BlockFrame(cid, block))


async def main(kind: str, way: str) -> None:
    """Serves until the input ends."""
    root, blocks = lying() if kind == "a node that lies" else honest()

    async def serve(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        reader = FrameReader(stream, MAX_FRAME_BYTES)
        while (body := await reader.next()) is not None:
            for cid in decode_want(body).cids:
                await stream.send_all(answer(kind, cid, blocks))

    config = LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, side_port=way == "side")
    provider = Libp2pLink(hashlib.sha256(b"hostile provider").digest(), config)
    provider.accept(BLOB_PROTOCOL, serve)
    async with trio.open_nursery() as nursery:
        await nursery.start(provider.run)
        leaves = [cid.hex() for cid in blocks if is_raw(cid)]
        print(json.dumps({"address": provider.addresses[0], "root": root.hex(), "leaves": leaves}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
