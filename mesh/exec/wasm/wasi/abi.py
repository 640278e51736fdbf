"""How does WASI preview 1 lay out its numbers and structs?

Source: the ``wasi_snapshot_preview1`` witx definitions. Little-endian throughout.
"""

import struct

from mesh.exec.wasm.lean import Final

__all__ = [
    "ALL_FLAGS",
    "ALL_RIGHTS",
    "CLOCK_ABSTIME",
    "RIGHT_SEEK_TELL",
    "ClockId",
    "Errno",
    "FdFlag",
    "FileType",
    "OpenFlag",
    "SetTimes",
    "WasiError",
    "Whence",
    "pack_dirent",
    "pack_event",
    "pack_fdstat",
    "pack_filestat",
    "pack_prestat",
]


class Errno:
    """The error codes this implementation gives."""

    SUCCESS: Final = 0
    ACCES: Final = 2
    BADF: Final = 8
    EXIST: Final = 20
    FAULT: Final = 21
    ILSEQ: Final = 25
    INVAL: Final = 28
    ISDIR: Final = 31
    LOOP: Final = 32
    NFILE: Final = 41
    NAMETOOLONG: Final = 37
    NOENT: Final = 44
    NOSYS: Final = 52
    NOTDIR: Final = 54
    NOTEMPTY: Final = 55
    NOTSOCK: Final = 57
    NOTSUP: Final = 58
    OVERFLOW: Final = 61
    PERM: Final = 63
    ROFS: Final = 69
    SPIPE: Final = 70
    XDEV: Final = 75
    NOTCAPABLE: Final = 76


class WasiError(Exception):
    """A call fails with this errno; the guest sees the number and goes on."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class FileType:
    """``filetype``."""

    UNKNOWN: Final = 0
    CHARACTER_DEVICE: Final = 2
    DIRECTORY: Final = 3
    REGULAR_FILE: Final = 4


class FdFlag:
    """``fdflags``."""

    APPEND: Final = 1
    DSYNC: Final = 2
    NONBLOCK: Final = 4
    RSYNC: Final = 8
    SYNC: Final = 16


class OpenFlag:
    """``oflags``."""

    CREAT: Final = 1
    DIRECTORY: Final = 2
    EXCL: Final = 4
    TRUNC: Final = 8


class SetTimes:
    """``fstflags``."""

    ATIM: Final = 1
    ATIM_NOW: Final = 2
    MTIM: Final = 4
    MTIM_NOW: Final = 8


class Whence:
    """``whence``."""

    SET: Final = 0
    CUR: Final = 1
    END: Final = 2


class ClockId:
    """``clockid``."""

    REALTIME: Final = 0
    MONOTONIC: Final = 1
    PROCESS_CPUTIME: Final = 2
    THREAD_CPUTIME: Final = 3


CLOCK_ABSTIME: Final = 1
"""``subclockflags``: the timeout is a point in time."""

ALL_FLAGS: Final = 0x1F
"""Those of ``FdFlag``."""

ALL_RIGHTS: Final = (1 << 30) - 1
"""Rights were dropped from WASI after preview 1; libc still masks with what we answer, so we answer all."""

RIGHT_SEEK_TELL: Final = (1 << 2) | (1 << 5)
"""fd_seek and fd_tell: a character device that has them is no terminal to libc, so stdio buffers in full."""

_DEVICE: Final = 1
"""One made-up device number for every file."""


def pack_fdstat(filetype: int, flags: int, rights: int) -> bytes:
    """``fdstat``, 24 bytes."""
    return struct.pack("<BxH4xQQ", filetype, flags, rights, rights)


def pack_filestat(ino: int, filetype: int, size: int, times: tuple[int, int, int]) -> bytes:
    """``filestat``, 64 bytes; ``times`` are (access, modification, change) in nanoseconds."""
    return struct.pack("<QQB7xQQQQQ", _DEVICE, ino, filetype, 1, size, *times)


def pack_dirent(next_cookie: int, ino: int, filetype: int, name: bytes) -> bytes:
    """``dirent`` with its name, 24 bytes and the name."""
    return struct.pack("<QQIB3x", next_cookie, ino, len(name), filetype) + name


def pack_prestat(name_bytes: int) -> bytes:
    """``prestat`` of a directory, 8 bytes."""
    return struct.pack("<B3xI", 0, name_bytes)


def pack_event(userdata: bytes, errno: int, tag: int, available_bytes: int) -> bytes:
    """``event``, 32 bytes; ``userdata`` is 8 opaque bytes."""
    return userdata + struct.pack("<HB5xQH6x", errno, tag, available_bytes, 0)
