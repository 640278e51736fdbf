"""Who may work with this store? One process at a time."""

import fcntl
import os
from pathlib import Path

from mesh.store.errors import StoreError, StoreLocked

__all__ = ["take_lock"]


def take_lock(store: Path) -> int:
    """Lock ``store`` for this process and return the descriptor that holds it; closing that releases it.

    The kernel releases it when the process dies, however it dies. The file stays: removing it would race with the next
    holder. The descriptor is not inherited over exec; a bare fork would share it. Raises ``StoreLocked`` naming the
    holder's pid.
    """
    path = store.with_name(f"{store.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot open {path}", why=error.strerror or str(error), fix=f"ls -ld {path.parent}"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreLocked(
            f"the store {store} is in use",
            why=f"process {holder or '?'} holds {path}",
            fix="mesh status, or mesh down; to run a second node give it its own MESH_HOME",
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"cannot lock {path}", why=error.strerror or str(error), fix=f"df -h {path.parent}") from error
    return descriptor
