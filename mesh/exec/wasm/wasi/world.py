"""What does one job see? Everything of it, put together."""

from mesh.exec.wasm.lean import Callable
from mesh.exec.wasm.wasi.clock import SeededRandom, VirtualClock
from mesh.exec.wasm.wasi.descriptors import DescriptorTable, LogStream, OpenDirectory, Stdin
from mesh.exec.wasm.wasi.memory import GuestMemory
from mesh.exec.wasm.wasi.tree import Tree

__all__ = ["World"]


class World:
    """The guest's arguments, clock, dice, logs and files. ``emit`` gets (stream 1 or 2, bytes) as the job writes them.

    Invariant: nothing in here depends on the host beyond the contents of input files.
    """

    def __init__(
        self,
        *,
        argv: tuple[str, ...],
        env: tuple[tuple[str, str], ...],
        seed: bytes,
        epoch_s: int,
        stdout_bytes: int,
        emit: Callable[[int, bytes], None],
    ) -> None:
        self.argv = [item.encode() for item in argv]
        self.env = [f"{name}={value}".encode() for name, value in env]
        self.clock = VirtualClock(epoch_s)
        self.random = SeededRandom(seed)
        self.memory = GuestMemory()
        self.descriptors = DescriptorTable()
        self.stdout = LogStream("stdout", stdout_bytes, lambda data: emit(1, data))
        self.stderr = LogStream("stderr", stdout_bytes, lambda data: emit(2, data))
        for standard in (Stdin(), self.stdout, self.stderr):
            self.descriptors.add(standard)

    def mount(self, guest_path: str, tree: Tree) -> None:
        """Preopen a tree; the first gets descriptor 3."""
        self.descriptors.add(OpenDirectory(tree.root, guest_path.encode()))
