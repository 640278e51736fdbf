"""How do blocks lie on a disk?

Small ones in the rows of one file (``rows``), durable when they are written. Others as ``blobs/<aa>/<cid text>``, ``aa``
the first byte of the digest in hex. Such a block appears under its name only when it is whole and durable: written to
``tmp``, synced in groups, renamed. The name itself is durable after ``settle``: a crash before it may lose the block,
never damage it. Everything here blocks and is called in threads; every method may be called from several at once.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mesh.store.blobs.errors import BlobStoreFailed, QuotaExceeded
from mesh.store.blobs.recent import Recent
from mesh.store.blobs.rows import SMALL_BYTES, BlobRows
from mesh.store.blobs.syncing import Syncers
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import cid_text, digest_of, parse_cid, verify_cid
from protocols.transfer.dagpb import MAX_BLOCK_BYTES
from protocols.transfer.unixfs import Block
from protocols.units import Cid

__all__ = ["BlobDisk", "Lease", "StoredBlock", "disk_bytes"]

_PAGE_BYTES: Final = 4096
"""What a file takes at least: a million one-byte leaves fill 4 GiB, and count as that."""
_SHARDS: Final = 256

StoredBlock = tuple[Cid, int, int]
"""Name, bytes, time of writing in ns."""


def disk_bytes(size: int) -> int:
    """What a block of this size counts against the quota: whole pages."""
    return max(1, -(-size // _PAGE_BYTES)) * _PAGE_BYTES


class Lease:
    """The blocks that one running fetch or import relies on: not collected while it lasts.

    Grows by 70 bytes per block: 70 MB for an import of 256 GiB.
    """

    def __init__(self) -> None:
        self._touched: set[bytes] = set()

    def touch(self, cid: Cid) -> None:
        """Keep this block."""
        self._touched.add(digest_of(cid)[:8])

    def covers(self, cid: Cid) -> bool:
        """Whether this block is kept (or shares 8 bytes of hash with one that is)."""
        return digest_of(cid)[:8] in self._touched


class BlobDisk:
    """The directory. One process at a time holds it; ``open`` takes it, ``close`` gives it back."""

    def __init__(self, path: Path, quota_bytes: int, *, sync: bool) -> None:
        self._path = path
        self._blobs, self._tmp = str(path / "blobs"), str(path / "tmp")  # a Path costs more than the call it is for
        self._quota_bytes = quota_bytes
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._used: int | None = None
        self._counter = 0
        self.rows = BlobRows(path / "small.sqlite3", sync=sync)
        self._recent = Recent()
        self._lock_fd = -1
        self._unsettled: set[str] = set()
        self._settling = threading.Lock()
        self._syncers = Syncers(sync=sync)
        self.damaged = 0
        """Blocks found with another hash than their name's, and removed."""

    @property
    def quota_bytes(self) -> int:
        """The bound on ``used_bytes``."""
        return self._quota_bytes

    def open(self) -> None:
        """Makes the directories, takes the lock, forgets what a crash left in ``tmp``. Raises ``BlobStoreFailed``."""
        for name in ("blobs", "tmp"):
            (self._path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BlobStoreFailed(
                f"the blob store {self._path} is in use",
                why="another mesh process holds its lock",
                fix="mesh status   (or `mesh down` first)",
            ) from None
        try:
            self.rows.open()
            self.rows.adopt(self._path / "pins")
        except BaseException:
            self.close()
            raise
        for left in os.scandir(self._tmp):
            os.unlink(left.path)
        if self._mark.exists():  # an earlier process was killed before it settled
            self._unsettled = {shard.path for shard in os.scandir(self._blobs) if shard.is_dir()} | {self._blobs}
            self.settle()

    def close(self) -> None:
        """Gives the lock back; no thread of ours is left."""
        self._syncers.close()
        self.rows.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    @property
    def _mark(self) -> Path:
        """Exists while names are not settled. Not synced itself: a crash of the machine settles them one way or other."""
        return self._path / "unsettled"

    @property
    def settled(self) -> bool:
        """Whether all names are durable. Does not block; looks twice, since a settling that fails puts them back."""
        return not self._unsettled and not self._settling.locked() and not self._unsettled

    def settle(self) -> None:
        """Makes the names of all blocks durable that were placed before the call, by whomever."""
        with self._settling:  # whoever comes second waits for the first, which may hold names of both
            with self._lock:
                directories, self._unsettled = self._unsettled, set()
            try:
                self._syncers.sync_directories(list(directories))
            except BaseException:
                with self._lock:
                    self._unsettled |= directories
                raise
            with self._lock:
                if directories and not self._unsettled:
                    self._mark.unlink(missing_ok=True)

    def size(self, cid: Cid, lease: Lease | None = None) -> int:
        """Bytes of a held block, or -1. With a lease the block stays until the lease ends."""
        with self._lock:
            return self._size(cid, lease, self.rows.size(cid))

    def _size(self, cid: Cid, lease: Lease | None, size: int) -> int:
        """``size``: of its row, or -1."""
        if size < 0:
            try:
                size = os.stat(self._file(cid)).st_size
            except FileNotFoundError:
                return -1
        if lease is not None:
            lease.touch(cid)
        return size

    def size_at_once(self, cid: Cid, lease: Lease | None = None) -> int | None:
        """As ``size``; None while another thread is at the disk: this waits for none."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            row = self.rows.size_at_once(cid)
            return None if row is None else self._size(cid, lease, row)
        finally:
            self._lock.release()

    def read_at_once(self, cid: Cid) -> bytes | None:
        """A held block that was verified a short while ago; None if that cannot be told without reading."""
        return self._recent.get(cid, self._file)

    def read(self, cid: Cid, lease: Lease | None = None) -> bytes | None:
        """A held block, verified; None if it is absent. One that is damaged is removed and then absent."""
        if self.size(cid, lease) < 0:
            return None
        found: os.stat_result | None = None
        try:
            block = self.rows.read(cid)
            if block is None:
                block, found = _read_file(self._file(cid))
            verify_cid(cid, block)
        except FileNotFoundError:
            return None
        except RemoteProtocolError:
            self.damaged += 1
            self.remove(cid)
            return None
        self._recent.keep(cid, block, found)
        return block

    def write(self, blocks: Sequence[Block], lease: Lease | None = None, pin: tuple[bytes, Cid] | None = None) -> None:
        """Makes blocks durable, and their names, too, unless a lease says that ``settle`` follows at the end of its work;
        and at last that a key keeps a tree.

        Held ones are left as they are. The names are trusted: verify before. Raises ``QuotaExceeded`` before anything
        is written. After an error none, some or all of the blocks are held, each of them whole.
        """
        fresh = {cid: block for cid, block in blocks if self.size(cid, lease) != len(block)}
        if fresh or pin is not None:
            self._write_fresh(fresh, lease, pin)
        if lease is None:
            self.settle()

    def _write_fresh(self, fresh: dict[Cid, bytes], lease: Lease | None, pin: tuple[bytes, Cid] | None) -> None:
        self._reserve(sum(disk_bytes(len(block)) for block in fresh.values()))
        try:
            large = {cid: block for cid, block in fresh.items() if len(block) > SMALL_BYTES}
            if large:
                self._write_files(large, lease)
            if len(fresh) > len(large) or pin is not None:
                self._write_rows({cid: block for cid, block in fresh.items() if cid not in large}, lease, pin)
        except BaseException:
            self._forget_usage()
            raise

    def _write_rows(self, small: dict[Cid, bytes], lease: Lease | None, pin: tuple[bytes, Cid] | None) -> None:
        if lease is not None:
            with self._lock:
                for cid in small:
                    lease.touch(cid)
        held = self.rows.write(small.items(), pin)
        with self._lock:
            if self._used is not None:
                self._used -= held * _PAGE_BYTES  # another thread was quicker
        for cid, block in small.items():
            self._recent.keep(cid, block, None)

    def _write_files(self, fresh: dict[Cid, bytes], lease: Lease | None) -> None:
        pending: dict[Cid, str] = {}
        try:
            for cid, block in fresh.items():
                pending[cid] = self._stage(block)
            self._syncers.sync_files(list(pending.values()))
            for cid, staged in pending.items():
                self._place(cid, staged, lease)
                with contextlib.suppress(FileNotFoundError):  # collected already
                    self._recent.keep(cid, fresh[cid], os.stat(self._file(cid)))
        except BaseException:
            for staged in pending.values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged)
            raise

    def remove(self, cid: Cid, *, unless_leased: bool = False) -> bool:
        """Deletes a block; False if it was absent, or leased and ``unless_leased``."""
        with self._lock:
            if unless_leased and any(lease.covers(cid) for lease in self._leases):
                return False
            size = self.rows.size(cid)
            if size >= 0:
                self.rows.remove(cid)
                self._recent.forget(cid)
            else:
                path = self._file(cid)
                try:
                    size = os.stat(path).st_size
                    os.unlink(path)
                except FileNotFoundError:
                    return False
            if self._used is not None:
                self._used -= disk_bytes(size)
            return True

    def scan(self) -> Iterator[list[StoredBlock]]:
        """Every block held, in some steps; files with other names are left alone."""
        yield from self.rows.scan()
        for shard in range(_SHARDS):
            found: list[StoredBlock] = []
            directory = self._path / "blobs" / f"{shard:02x}"
            if not directory.is_dir():
                continue
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        stat = entry.stat(follow_symlinks=False)
                        found.append((parse_cid(entry.name), stat.st_size, stat.st_mtime_ns))
                    except (ValueError, FileNotFoundError):
                        continue
            yield found

    def used_bytes(self) -> int:
        """What the blocks count as together. The first call looks at every block."""
        with self._lock:
            if self._used is not None:
                return self._used
        used = sum(disk_bytes(size) for shard in self.scan() for _, size, _ in shard)
        with self._lock:
            if self._used is None:
                self._used = used
            return self._used

    def add_lease(self, lease: Lease) -> None:
        """From now on what the lease touches is kept."""
        with self._lock:
            self._leases.add(lease)

    def end_lease(self, lease: Lease) -> None:
        """What it touched may be collected again, unless pinned."""
        with self._lock:
            self._leases.discard(lease)

    def _reserve(self, cost: int) -> None:
        used = self.used_bytes()
        with self._lock:
            used = self._used if self._used is not None else used
            if used + cost > self._quota_bytes:
                raise QuotaExceeded(
                    "there is no room for more blobs",
                    why=f"{used} of {self._quota_bytes} bytes are in use and {cost} more are needed",
                    fix=f"mesh config set store.blob_quota_mib {2 * self._quota_bytes >> 20}   (then restart the node)",
                )
            self._used = used + cost

    def _forget_usage(self) -> None:
        with self._lock:
            self._used = None

    def _shard(self, cid: Cid) -> str:
        return f"{self._blobs}/{digest_of(cid)[0]:02x}"

    def _file(self, cid: Cid) -> str:
        return f"{self._shard(cid)}/{cid_text(cid)}"

    def _place(self, cid: Cid, staged: str, lease: Lease | None) -> None:
        shard, target = self._shard(cid), self._file(cid)
        with self._lock:
            if not self._unsettled:
                self._mark.touch(mode=0o600)
            self._unsettled.add(shard)
            with contextlib.suppress(FileNotFoundError):
                held = os.stat(target).st_size  # another thread was quicker, or it was damaged
                self._used = None if self._used is None else self._used - disk_bytes(held)
            try:
                os.rename(staged, target)
            except FileNotFoundError:
                os.makedirs(shard, mode=0o700, exist_ok=True)
                self._unsettled.add(self._blobs)
                os.rename(staged, target)
            if lease is not None:
                lease.touch(cid)

    def _stage(self, block: bytes) -> str:
        with self._lock:
            self._counter += 1
            path = f"{self._tmp}/{self._counter}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(block)
            while view:
                view = view[os.write(fd, view) :]
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        return path


def _read_file(path: str) -> tuple[bytes, os.stat_result]:
    """Up to one byte more than a block may have, and the file's status. Raises ``FileNotFoundError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        return os.read(fd, min(found.st_size, MAX_BLOCK_BYTES) + 1), found
    finally:
        os.close(fd)
