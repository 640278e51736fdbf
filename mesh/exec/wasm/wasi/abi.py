"""How does WASI preview 1 lay out its numbers and structs?

Source: the ``wasi_snapshot_preview1`` witx definitions. Little-endian throughout.
"""

import enum
import struct
from typing import Final

__all__ = [
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


class Errno(enum.IntEnum):
    """The error codes this implementation gives."""

    SUCCESS = 0
    ACCES = 2
    BADF = 8
    EXIST = 20
    FAULT = 21
    ILSEQ = 25
    INVAL = 28
    ISDIR = 31
    LOOP = 32
    NFILE = 41
    NAMETOOLONG = 37
    NOENT = 44
    NOSYS = 52
    NOTDIR = 54
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    OVERFLOW = 61
    PERM = 63
    ROFS = 69
    SPIPE = 70
    XDEV = 75
    NOTCAPABLE = 76


class WasiError(Exception):
    """A call fails with this errno; the guest sees the number and goes on."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


class FileType(enum.IntEnum):
    """``filetype``."""

    UNKNOWN = 0
    CHARACTER_DEVICE = 2
    DIRECTORY = 3
    REGULAR_FILE = 4


class FdFlag(enum.IntFlag):
    """``fdflags``."""

    APPEND = 1
    DSYNC = 2
    NONBLOCK = 4
    RSYNC = 8
    SYNC = 16


class OpenFlag(enum.IntFlag):
    """``oflags``."""

    CREAT = 1
    DIRECTORY = 2
    EXCL = 4
    TRUNC = 8


class SetTimes(enum.IntFlag):
    """``fstflags``."""

    ATIM = 1
    ATIM_NOW = 2
    MTIM = 4
    MTIM_NOW = 8


class Whence(enum.IntEnum):
    """``whence``."""

    SET = 0
    CUR = 1
    END = 2


class ClockId(enum.IntEnum):
    """``clockid``."""

    REALTIME = 0
    MONOTONIC = 1
    PROCESS_CPUTIME = 2
    THREAD_CPUTIME = 3


CLOCK_ABSTIME: Final = 1
"""``subclockflags``: the timeout is a point in time."""

ALL_RIGHTS: Final = (1 << 30) - 1
"""Rights were dropped from WASI after preview 1; libc still masks with what we answer, so we answer all."""

RIGHT_SEEK_TELL: Final = (1 << 2) | (1 << 5)
"""fd_seek and fd_tell: a character device that has them is no terminal to libc, so stdio buffers in full."""

_DEVICE: Final = 1
"""One made-up device number for every file."""


def pack_fdstat(filetype: FileType, flags: int, rights: int) -> bytes:
    """``fdstat``, 24 bytes."""
    return struct.pack("<BxH4xQQ", filetype, flags, rights, rights)


def pack_filestat(ino: int, filetype: FileType, size: int, times: tuple[int, int, int]) -> bytes:
    """``filestat``, 64 bytes; ``times`` are (access, modification, change) in nanoseconds."""
    return struct.pack("<QQB7xQQQQQ", _DEVICE, ino, filetype, 1, size, *times)


def pack_dirent(next_cookie: int, ino: int, filetype: FileType, name: bytes) -> bytes:
    """``dirent`` with its name, 24 bytes and the name."""
    return struct.pack("<QQIB3x", next_cookie, ino, len(name), filetype) + name


def pack_prestat(name_bytes: int) -> bytes:
    """``prestat`` of a directory, 8 bytes."""
    return struct.pack("<B3xI", 0, name_bytes)


def pack_event(userdata: bytes, errno: Errno, tag: int, available_bytes: int) -> bytes:
    """``event``, 32 bytes; ``userdata`` is 8 opaque bytes."""
    return userdata + struct.pack("<HB5xQH6x", errno, tag, available_bytes, 0)
