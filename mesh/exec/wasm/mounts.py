"""How do a run's descriptors become the folders that the guest sees?"""

import os
import posixpath
import stat

from mesh.exec.wasm.lean import Callable, Final
from mesh.exec.wasm.sandbox import NOBODY
from mesh.exec.wasm.wasi.quota import Quota
from mesh.exec.wasm.wasi.tree import File, InodeCounter, Tree, TreeRefused
from mesh.exec.wasm.wasi.world import World
from mesh.exec.wasm.wire import RunSpec

__all__ = ["MAX_HELD_FILES", "PROGRAM_NAME", "build_world"]

PROGRAM_NAME: Final = "job"
"""argv[0] of every job: the same everywhere, whatever the module's file is called."""

MAX_HELD_FILES: Final = 512
"""Input files that only root may read are opened before root is dropped; more than this cannot be held open."""


def build_world(
    spec: RunSpec, input_fds: list[int], output_fds: list[int], emit: Callable[[int, bytes], None]
) -> World:
    """Mount inputs, then outputs, in the order of the spec.

    Raises:
        TreeRefused: the inputs cannot be held.
    """
    world = World(
        argv=(PROGRAM_NAME, *spec.argv),
        env=spec.env,
        seed=spec.seed,
        epoch_s=spec.epoch_s,
        stdout_bytes=spec.stdout_bytes,
        emit=emit,
    )
    inodes = InodeCounter()
    now = world.clock.stamp_ns()
    trees: dict[str, Tree] = {}
    for fd, (guest_path, is_folder) in zip(input_fds, spec.inputs, strict=True):
        if is_folder:
            tree = Tree(fd, inodes, now, writable=False, quotas=())
            tree.load(now)
            trees[guest_path] = tree
    for fd, (guest_path, is_folder) in zip(input_fds, spec.inputs, strict=True):
        if not is_folder:
            folder, name = posixpath.split(guest_path)
            tree = trees.setdefault(folder, Tree(-1, inodes, now, writable=False, quotas=()))
            if name in tree.root.entries:
                raise TreeRefused(f"two inputs are called {guest_path!r}")
            file = File(tree, tree.root, name, now, os.fstat(fd).st_size)
            file.held_fd = fd
            tree.root.put(name, file)
    if os.geteuid() == 0:
        _hold_unreadable(list(trees.values()))
    for guest_path, tree in trees.items():
        world.mount(guest_path, tree)
    everything = Quota("all outputs", spec.disk_bytes, spec.max_files)
    for fd, (guest_path, max_bytes, max_files) in zip(output_fds, spec.outputs, strict=True):
        own = Quota(guest_path, max_bytes, max_files)
        world.mount(guest_path, Tree(fd, inodes, now, writable=True, quotas=(own, everything)))
    return world


def _hold_unreadable(trees: list[Tree]) -> None:
    """Open now what nobody may not open later."""
    held = 0
    for tree in trees:
        for file in tree.files():
            if file.held_fd >= 0 or _open_to_all(file):
                continue
            held += 1
            if held > MAX_HELD_FILES:
                raise TreeRefused(
                    f"more than {MAX_HELD_FILES} input files are closed to uid {NOBODY}: "
                    "make the folders 0755 and the files 0644, or run the node as an ordinary user"
                )
            file.held_fd = file.open_host(os.O_RDONLY)


def _open_to_all(file: File) -> bool:
    """Whether its mode and those of its folders let anybody read it."""
    names = file.host_path().split("/")
    for count in range(len(names) + 1):
        path = "/".join(names[:count]) or "."
        mode = os.stat(path, dir_fd=file.tree.root_fd, follow_symlinks=False).st_mode
        wanted = stat.S_IROTH if count == len(names) else stat.S_IXOTH
        if not mode & wanted:
            return False
    return True
