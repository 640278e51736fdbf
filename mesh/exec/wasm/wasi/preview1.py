"""How do the calls reach the guest?  One linker per process, built before any job, bound to a world when one starts."""

from collections.abc import Callable
from typing import Final

from wasmtime import Engine, FuncType, Linker, ValType

from mesh.exec.wasm.wasi.abi import Errno, WasiError
from mesh.exec.wasm.wasi.fd_calls import FdCalls
from mesh.exec.wasm.wasi.path_calls import PathCalls
from mesh.exec.wasm.wasi.system_calls import SystemCalls
from mesh.exec.wasm.wasi.world import World

__all__ = ["MODULE_NAME", "SIGNATURES", "Preview1"]

MODULE_NAME: Final = "wasi_snapshot_preview1"

SIGNATURES: Final[dict[str, str]] = {
    # i = u32, I = u64, s = s64; every call but proc_exit answers an errno
    "args_get": "ii",
    "args_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_close": "i",
    "fd_datasync": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "isii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
    "poll_oneoff": "iiii",
    "proc_exit": "i",
    "proc_raise": "i",
    "random_get": "ii",
    "sched_yield": "",
    "sock_accept": "iii",
    "sock_recv": "iiiiii",
    "sock_send": "iiiii",
    "sock_shutdown": "ii",
}

_PARTS: Final = (FdCalls, PathCalls, SystemCalls)
_HOME: Final = {name: next(index for index, part in enumerate(_PARTS) if hasattr(part, name)) for name in SIGNATURES}
"""Which part answers which call; a call without a home fails here, at import."""

_U32: Final = 0xFFFF_FFFF
_U64: Final = 0xFFFF_FFFF_FFFF_FFFF


class Preview1:
    """The linker and the world behind it. ``bind`` must precede the first instantiation; one world per process."""

    def __init__(self, engine: Engine) -> None:
        self.linker = Linker(engine)
        self._parts: tuple[object, ...] = ()
        for name, signature in SIGNATURES.items():
            params = [ValType.i32() if kind == "i" else ValType.i64() for kind in signature]
            results = [] if name == "proc_exit" else [ValType.i32()]
            self.linker.define_func(MODULE_NAME, name, FuncType(params, results), self._entry(name, signature))

    def bind(self, world: World) -> None:
        """Let the calls act on this world."""
        self._parts = tuple(kind(world) for kind in _PARTS)

    def _entry(self, name: str, signature: str) -> Callable[..., int | None]:
        masks = tuple({"i": _U32, "I": _U64, "s": -1}[kind] for kind in signature)
        answers = name != "proc_exit"
        home = _HOME[name]

        def call(*values: int) -> int | None:
            try:
                # looked up here and not in bind: most jobs use five of these, and a fork pays for every object it makes
                getattr(self._parts[home], name)(*[value & mask for value, mask in zip(values, masks, strict=True)])
            except WasiError as refusal:
                return refusal.errno.value
            return Errno.SUCCESS.value if answers else None

        return call
