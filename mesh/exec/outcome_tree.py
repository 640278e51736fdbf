"""Which files are in an outcome folder, and how does a process read them that may open nothing else any more?"""

import os
from collections.abc import Iterator
from typing import Final

from protocols.verify.comparators.outputs import MAX_FILES, uncomparable

__all__ = ["DECLARED", "MAX_FILE_BYTES", "OutcomeTree"]

DECLARED: Final = "outputs/"
"""Below it are the files that a job declared; beside it what the executor says about the run, which is never decoded."""
MAX_FILE_BYTES: Final = (512 << 20) + 4096
"""Bytes of one file that are taken into memory: MAX_ELEMENTS of float64 and a header."""
_PIECE: Final = 1 << 20


class OutcomeTree:
    """The files of one folder, by path. Read through its descriptor: after the confinement nothing else can be opened."""

    def __init__(self, folder: str) -> None:
        """Raises RemoteProtocolError(code="uncomparable") for what is no folder, or holds more than MAX_FILES entries."""
        try:
            self.fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError as error:
            raise uncomparable("one of them is a file, and no folder of an outcome") from error
        self.sizes: dict[str, int] = {}
        self.folders: list[str] = []
        for place, folders, names in os.walk(folder):
            self.folders += [os.path.relpath(os.path.join(place, name), folder) for name in folders]
            for name in names:
                path = os.path.relpath(os.path.join(place, name), folder)
                self.sizes[path] = os.lstat(os.path.join(place, name)).st_size
            if len(self.sizes) + len(self.folders) > MAX_FILES:
                raise uncomparable(f"more than {MAX_FILES} files")

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file's bytes, a mebibyte at a time."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self.fd)
        try:
            while piece := os.read(fd, _PIECE):
                yield piece
        finally:
            os.close(fd)

    def read(self, path: str) -> bytes:
        """A whole file. Raises RemoteProtocolError(code="uncomparable") for one that is too large for that."""
        if self.sizes[path] > MAX_FILE_BYTES:
            raise uncomparable(f"{path} has {self.sizes[path]} bytes, at most {MAX_FILE_BYTES} are looked at")
        return b"".join(self.pieces(path))
