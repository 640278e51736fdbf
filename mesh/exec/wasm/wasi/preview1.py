"""How do the calls reach the guest?  One linker per process, built before any job, bound to a world when one starts."""

import ctypes
from struct import Struct

from mesh.exec.wasm import capi
from mesh.exec.wasm.capi import refuse
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import WasiError
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

_LAYOUTS: Final = {
    signature: Struct("<" + "".join({"i": "I12x", "I": "Q8x", "s": "q8x"}[kind] for kind in signature))
    for signature in SIGNATURES.values()
}
"""Every value takes 16 bytes."""

_TRAP_TEXT: Final = b"a call ended the job"


class Preview1:
    """The linker and the world behind it. ``bind`` must precede the first instantiation; one world per process."""

    def __init__(self, engine: int) -> None:
        self.linker = int(capi.linker_new(engine))
        self.failure: BaseException | None = None
        """What a call threw: the guest has been stopped for it."""
        self.world: World
        self._parts: tuple[object, ...] = ()
        self._calls: list[tuple[str, int, Struct]] = []
        self._callback = capi.CALLBACK(self._answer)
        for name, signature in SIGNATURES.items():
            results = "" if name == "proc_exit" else "i"
            kind = capi.functype_new(ctypes.byref(_valtypes(signature)), ctypes.byref(_valtypes(results)))
            module, field = MODULE_NAME.encode(), name.encode()
            refuse(
                capi.linker_define(
                    self.linker, module, len(module), field, len(field), kind, self._callback, len(self._calls), None
                )
            )
            self._calls.append((name, _HOME[name], _LAYOUTS[signature]))

    def bind(self, world: World) -> None:
        """Let the calls act on this world."""
        self.world = world
        self._parts = tuple(kind(world) for kind in _PARTS)

    def forget(self) -> None:
        """Let go of the world and of its end."""
        del self.world
        self.failure = None
        self._parts = ()

    def _answer(self, index: int | None, _caller: int | None, values: int, _count: int) -> int:
        """One call. ``values`` holds the parameters, then the result; the answer is a trap, or 0."""
        name, home, layout = self._calls[index or 0]
        try:
            errno = 0
            try:
                # looked up here and not in bind: most jobs use five of these, and a fork pays for every object it makes
                getattr(self._parts[home], name)(*layout.unpack(ctypes.string_at(values, layout.size)))
            except WasiError as refusal:
                errno = refusal.errno
            ctypes.memmove(values, errno.to_bytes(4, "little"), 4)
        except BaseException as failure:
            self.failure = failure
            return int(capi.trap_new(_TRAP_TEXT, len(_TRAP_TEXT)))
        return 0


def _valtypes(kinds: str) -> capi.Vector:
    items = (ctypes.c_void_p * len(kinds))(*[capi.valtype_new(0 if kind == "i" else 1) for kind in kinds])
    vector = capi.Vector()
    capi.valtype_vec_new(ctypes.byref(vector), len(kinds), items)
    return vector
