"""How does a child tell the node what it saw?  Frames on one pipe, written before the next instruction of the job."""

import os

from mesh.exec.wasm.wire import FRAME_HEADER, FrameType

__all__ = ["Reporter"]


class Reporter:
    """Writes whole frames; blocks while the pipe is full. A node that is gone kills us by SIGPIPE or by its zygote."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, kind: FrameType | int, payload: bytes) -> None:
        """One frame."""
        view = memoryview(FRAME_HEADER.pack(kind, len(payload)) + payload)
        while view:
            view = view[os.write(self._fd, view) :]
