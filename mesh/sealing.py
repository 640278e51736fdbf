"""How does a result become bytes that say nothing without their key, and a result again?

A sealed result is one file: a fresh nonce, then chunks of 1 MiB, each under ChaCha20-Poly1305 with the chunk's number and
whether it is the last as its nonce (Hoang, Reyhanitabar, Rogaway, Vizar: STREAM, CRYPTO 2015), so that none can be changed,
moved, dropped or added. The cipher's key is HKDF-SHA256 of the deal's key and the fresh nonce: a job that runs again after a
crash may end otherwise, and no two files share a keystream. Inside: the root's name, then every block, each under
its name.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.store.blobs.errors import BlobAbsent
from mesh.store.blobs.importing import ImportRules
from mesh.store.blobs.store import BlobStore
from protocols.deals.states import SealedBytes
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import check_cid, is_raw
from protocols.transfer.dagpb import MAX_BLOCK_BYTES, decode_node
from protocols.transfer.steps import check_block
from protocols.transfer.unixfs import Block
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId

__all__ = ["MAX_SEALED_BYTES", "NotSealed", "Reader", "SealedResults", "Writer"]

CHUNK_BYTES: Final = 1 << 20
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 32
CID_BYTES: Final = 36
MAX_SEALED_BYTES: Final = 1 << 40
"""A terabyte, as what a user may import at once."""
_HEAD: Final = struct.Struct(f">{CID_BYTES}sI")
"""Of each block: its name, and its length in bytes."""
_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Blocks read or stored together."""
_AT_ONCE: Final = 64


class NotSealed(Exception):
    """The bytes are not sealed under this key, or hold no whole tree."""


class Writer:
    """Seals what is written to it into a file. Blocks: use it in threads."""

    def __init__(self, file: BinaryIO, key: bytes, nonce: bytes) -> None:
        self._file = file
        self._cipher = _cipher(key, nonce)
        self._held = bytearray()
        self._chunks = 0
        file.write(nonce)

    def write(self, *parts: bytes) -> None:
        """Add bytes; the last chunk is kept back until ``end``."""
        for part in parts:
            self._held += part
        while len(self._held) > CHUNK_BYTES:
            self._chunk(last=False)

    def end(self) -> None:
        """The last chunk, on the disk with all others."""
        self._chunk(last=True)
        self._file.flush()

    def _chunk(self, *, last: bool) -> None:
        plain = bytes(self._held[:CHUNK_BYTES])
        del self._held[:CHUNK_BYTES]
        self._file.write(self._cipher.encrypt(_number(self._chunks, last), plain, None))
        self._chunks += 1


class Reader:
    """Opens what a `Writer` has sealed. Raises ``NotSealed`` for anything else. Blocks: use it in threads."""

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        nonce = file.read(NONCE_BYTES)
        if len(nonce) != NONCE_BYTES:
            raise NotSealed("the sealed bytes are too short")
        self._file = file
        self._cipher = _cipher(key, nonce)
        self._held = bytearray()
        self._next = file.read(CHUNK_BYTES + TAG_BYTES)
        self._chunks = 0
        self._ended = False

    @property
    def exhausted(self) -> bool:
        """Whether everything has been taken."""
        return not self._held and not self._more()

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._held) < size:
            if not self._more():
                raise NotSealed("the sealed bytes end too soon")
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _more(self) -> bool:
        if self._ended:
            return False
        sealed, self._next = self._next, self._file.read(CHUNK_BYTES + TAG_BYTES)
        self._ended = not self._next
        try:
            self._held += self._cipher.decrypt(_number(self._chunks, self._ended), sealed, None)
        except InvalidTag as error:
            raise NotSealed("the key does not open the sealed bytes") from error
        self._chunks += 1
        return bool(self._held)


class SealedResults:
    """Seals and opens results of the blob store."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def seal(self, deal_id: DealId, root: Cid, key: bytes, place: Path) -> SealedBytes:
        """Write the sealed form of a tree that the store holds to ``place``, and keep it under the deal's pin."""
        with place.open("xb") as file:
            writer = await trio.to_thread.run_sync(Writer, file, key, os.urandom(NONCE_BYTES))
            writer.write(root)
            waiting = [root]
            while waiting:
                cids = waiting[-_AT_ONCE:]
                del waiting[-_AT_ONCE:]
                found = await self._store.get_many(cids, max_bytes=_BATCH_BYTES)
                waiting += cids[len(found) :]
                waiting += await trio.to_thread.run_sync(_seal_blocks, writer, list(zip(cids, found, strict=False)))
            await trio.to_thread.run_sync(writer.end)
        sealed = await self._store.add_path(place, ImportRules(max_content_bytes=MAX_SEALED_BYTES), key=deal_id)
        return SealedBytes(sealed.cid, sealed.content_bytes)

    async def unseal(self, deal_id: DealId, root: Cid, size: int, key: bytes, work: Path) -> tuple[Cid, int]:
        """Open what ``root`` names and keep the tree in it under the deal's pin; (its root, content bytes).

        ``work`` is a folder of the caller's that is gone afterwards. Raises ``NotSealed`` for what is the sealer's fault.
        """
        place = work / "sealed"
        try:
            await self._store.materialise(root, place, Limits.for_content(size))
            with place.open("rb") as file, self._store.lease() as lease:
                reader = await trio.to_thread.run_sync(Reader, file, key)
                inner = check_cid(await trio.to_thread.run_sync(reader.take, CID_BYTES))
                while blocks := await trio.to_thread.run_sync(_open_blocks, reader):
                    await self._store.put(blocks, lease)
                await self._store.settle()
                await self._store.pin(deal_id, inner)
            # Every leaf is read: the tree is whole, within its limits, and as large as it says.
            whole = await self._store.materialise(inner, work / "opened", Limits.for_content(size))
        except RemoteProtocolError as error:
            raise NotSealed(f"the sealed bytes hold no result: {error}") from error
        except BlobAbsent as error:
            raise NotSealed("the sealed bytes hold only a part of a result") from error
        return inner, whole.content_bytes


def _cipher(key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(SHA256(), 32, nonce, b"mesh/sealed/1").derive(key))


def _number(chunk: int, last: bool) -> bytes:
    return chunk.to_bytes(11, "big") + bytes([last])


def _seal_blocks(writer: Writer, blocks: list[tuple[Cid, bytes | None]]) -> list[Cid]:
    """Seal them; the names of what is below. A block is written as often as it occurs: sealed bytes bound those in files."""
    below: list[Cid] = []
    for cid, block in blocks:
        if block is None:
            raise BlobAbsent("a part of the result is gone", fix="mesh doctor")
        writer.write(_HEAD.pack(cid, len(block)), block)
        below += () if is_raw(cid) else (child.cid for child in decode_node(block).children)
    return below


def _open_blocks(reader: Reader) -> list[Block]:
    """The next blocks, each with the hash of its name; none at the end. Raises ``RemoteProtocolError`` for others."""
    blocks: list[Block] = []
    size = 0
    while size < _BATCH_BYTES and not reader.exhausted:
        name, length = _HEAD.unpack(reader.take(_HEAD.size))
        cid = check_cid(name)
        block = reader.take(min(length, MAX_BLOCK_BYTES))
        check_block(cid, block)
        blocks.append((cid, block))
        size += len(block)
    return blocks
