"""Which files does a run leave in its folder?  ``stdout``, ``stderr`` and ``outputs/NAME/``."""

import os
from pathlib import Path
from typing import Final, Self

from mesh.exec.executor import JobRefused, JobRequest, LogChunk, LogSink, Stream
from mesh.exec.logs import StreamChain, log_head
from mesh.exec.wasm.verdicts import ChildLied
from protocols.units import Hash32

__all__ = ["LogFiles", "close_all", "open_inputs", "open_outputs", "prepare_work_dir"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LogFiles:
    """Writes both logs as they arrive, chains them, and tells the sink. Never more than ``limit_bytes`` each."""

    def __init__(self, work_dir: Path, limit_bytes: int, sink: LogSink) -> None:
        self.paths = {Stream.STDOUT: work_dir / "stdout", Stream.STDERR: work_dir / "stderr"}
        self._chains = {stream: StreamChain(stream) for stream in Stream}
        self._limit_bytes = limit_bytes
        self._sink = sink
        self._fds: dict[Stream, int] = {}
        for stream, path in self.paths.items():
            self._fds[stream] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def append(self, stream: Stream, data: bytes) -> None:
        """The next bytes of one stream."""
        chain = self._chains[stream]
        offset = chain.length_bytes
        if offset + len(data) > self._limit_bytes:
            raise ChildLied("more log than its own limit lets through")
        view = memoryview(data)
        while view:
            view = view[os.write(self._fds[stream], view) :]
        chain.append(data)
        self._sink(LogChunk(stream, offset, data))

    def head(self) -> Hash32:
        """The head of both logs as they are now."""
        return log_head(self._chains[Stream.STDOUT], self._chains[Stream.STDERR])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_all(list(self._fds.values()))


def prepare_work_dir(work_dir: Path, job: JobRequest) -> None:
    """Make the empty folders. Raises ``JobRefused`` when something is in the way."""
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.listdir(work_dir):
        raise JobRefused(f"{work_dir} is not empty: every run needs a folder of its own", code="bad_request")
    outputs = work_dir / "outputs"
    outputs.mkdir(mode=0o700)
    for rule in job.outputs:
        (outputs / rule.name).mkdir(mode=0o700)


def open_outputs(work_dir: Path, job: JobRequest) -> list[int]:
    """One descriptor per output folder, in the order of the job. The caller closes them."""
    return [os.open(work_dir / "outputs" / rule.name, _FOLDER) for rule in job.outputs]


def open_inputs(job: JobRequest) -> tuple[list[int], list[bool]]:
    """One descriptor per input and whether it is a folder. The caller closes them.

    Raises:
        JobRefused: one is gone, unreadable, or neither a file nor a folder.
    """
    fds: list[int] = []
    folders: list[bool] = []
    for guest_path, host_path in job.inputs:
        try:
            folder = host_path.is_dir()
            if not folder and not host_path.is_file():
                raise FileNotFoundError(2, "neither a file nor a folder")
            fds.append(os.open(host_path, _FOLDER if folder else os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError as error:
            close_all(fds)
            raise JobRefused(
                f"the input for {guest_path} cannot be read: {error.strerror}", code="input_missing"
            ) from error
        folders.append(folder)
    return fds, folders


def close_all(fds: list[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
