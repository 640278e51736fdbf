"""Which functions of wasmtime's C API does a job need?  Bound by hand, so that a fork does not pay for all the others.

The package `wasmtime` binds the whole API in Python. Its wrappers cost each job 500 page faults after the fork, more than
half of its time, so the zygote loads the package's library alone. Objects of the API are addresses here (``int``); a
returned error or trap is one, or None. ``tests/exec/test_capi.py`` compares every prototype with the package's own.

Little is freed: a process that uses this serves one job and ends.
"""

import ctypes
import os
import sys
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint64, c_void_p

from mesh.exec.wasm.lean import Any, Final

__all__ = [
    "CALLBACK",
    "EXTERN_FUNC",
    "EXTERN_MEMORY",
    "ITEM_OFFSET",
    "TRAP_OUT_OF_FUEL",
    "EngineRefused",
    "Extern",
    "GuestTrapped",
    "Instance",
    "Vector",
    "bind",
    "bytes_of",
    "config_new",
    "context_get_fuel",
    "context_set_fuel",
    "engine_new",
    "error_delete",
    "export_get",
    "func_call",
    "functype_new",
    "linker_define",
    "linker_instantiate",
    "linker_new",
    "memory_data",
    "memory_data_size",
    "module_delete",
    "module_deserialize",
    "refuse",
    "set_switch",
    "store_context",
    "store_delete",
    "store_limiter",
    "store_new",
    "trap_delete",
    "trap_new",
    "trapped",
    "valtype_new",
    "valtype_vec_new",
]


def _library_path() -> str:
    """The library inside the installed package, found without importing that."""
    tail = f"wasmtime/linux-{os.uname().machine}/_libwasmtime.so"
    for folder in sys.path:
        path = f"{folder}/{tail}"
        if os.path.exists(path):
            return path
    raise ImportError(f"no {tail} below any of {sys.path}: type `pip install wasmtime`")


_LIBRARY: Final = ctypes.CDLL(_library_path())


def bind(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library with its prototype."""
    function = _LIBRARY[name]
    function.restype = result
    function.argtypes = arguments
    return function


class Vector(ctypes.Structure):
    """``wasm_byte_vec_t`` and its like: a count and an address."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


Instance: Final = c_uint64 * 2
"""``wasmtime_instance_t``: only the library looks inside."""

Extern: Final = c_uint64 * 4
"""``wasmtime_extern_t``: the kind in the first byte, then the item."""

ITEM_OFFSET: Final = 8

EXTERN_FUNC: Final = 0
EXTERN_MEMORY: Final = 3

CALLBACK: Final = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
"""``wasmtime_func_unchecked_callback_t``: (what was defined with it, caller, values of 16 bytes, their number) -> trap."""

config_new: Final = bind("wasm_config_new", c_void_p)
engine_new: Final = bind("wasm_engine_new_with_config", c_void_p, c_void_p)
valtype_new: Final = bind("wasm_valtype_new", c_void_p, c_uint8)
valtype_vec_new: Final = bind("wasm_valtype_vec_new", None, c_void_p, c_size_t, c_void_p)
functype_new: Final = bind("wasm_functype_new", c_void_p, c_void_p, c_void_p)
linker_new: Final = bind("wasmtime_linker_new", c_void_p, c_void_p)
linker_define: Final = bind(
    "wasmtime_linker_define_func_unchecked",
    c_void_p,
    *(c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, CALLBACK, c_void_p, c_void_p),
)
linker_instantiate: Final = bind(
    "wasmtime_linker_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)
module_deserialize: Final = bind("wasmtime_module_deserialize", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
store_new: Final = bind("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context: Final = bind("wasmtime_store_context", c_void_p, c_void_p)
store_limiter: Final = bind("wasmtime_store_limiter", None, c_void_p, *[c_int64] * 5)
store_delete: Final = bind("wasmtime_store_delete", None, c_void_p)
module_delete: Final = bind("wasmtime_module_delete", None, c_void_p)
context_set_fuel: Final = bind("wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64)
context_get_fuel: Final = bind("wasmtime_context_get_fuel", c_void_p, c_void_p, c_void_p)
export_get: Final = bind("wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
func_call: Final = bind(
    "wasmtime_func_call", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p
)
memory_data: Final = bind("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_data_size: Final = bind("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
error_delete: Final = bind("wasmtime_error_delete", None, c_void_p)
trap_delete: Final = bind("wasm_trap_delete", None, c_void_p)
trap_new: Final = bind("wasmtime_trap_new", c_void_p, c_char_p, c_size_t)
_trap_code: Final = bind("wasmtime_trap_code", c_bool, c_void_p, c_void_p)
_trap_message: Final = bind("wasm_trap_message", None, c_void_p, c_void_p)
_error_message: Final = bind("wasmtime_error_message", None, c_void_p, c_void_p)

_OPT_LEVELS: Final = {"none": 0, "speed": 1, "speed_and_size": 2}

TRAP_OUT_OF_FUEL: Final = 11


class EngineRefused(Exception):
    """wasmtime said no; the text is its own."""


class GuestTrapped(Exception):
    """The guest trapped. ``code`` is a ``wasmtime_trap_code_t``, or -1 where wasmtime has none."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def bytes_of(vector: Vector) -> bytes:
    """A copy of what a byte vector holds."""
    return ctypes.string_at(vector.data, vector.size) if vector.size else b""


def refuse(error: int | None) -> None:
    """Raise ``EngineRefused`` when a call gave an error."""
    if error is not None:
        text = Vector()
        _error_message(error, ctypes.byref(text))
        raise EngineRefused(bytes_of(text).decode(errors="replace"))


def trapped(trap: int) -> GuestTrapped:
    """The exception for a trap."""
    text, code = Vector(), c_uint8()
    _trap_message(trap, ctypes.byref(text))
    known = _trap_code(trap, ctypes.byref(code))
    return GuestTrapped(bytes_of(text).rstrip(b"\0").decode(errors="replace"), code.value if known else -1)


def set_switch(config: int, name: str, value: bool | int | str) -> None:
    """Set one field of a configuration by the name that the API gives it."""
    kind: Any = c_bool if isinstance(value, bool) else c_uint8 if isinstance(value, str) else c_size_t
    bind(f"wasmtime_config_{name}_set", None, c_void_p, kind)(
        config, _OPT_LEVELS[value] if isinstance(value, str) else value
    )
