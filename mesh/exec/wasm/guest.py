"""How is a compiled module brought to life in this process?"""

import ctypes

from mesh.exec.wasm import capi
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.preview1 import Preview1

__all__ = ["Guest"]

_MAX_TABLE_ELEMENTS: Final = 200_000
"""Function pointers in one table, 8 bytes each: no real module comes near."""

_MAX_TABLES: Final = 16
"""Compilers make one; a few are harmless."""


class Guest:
    """One instance in a store of its own. Made before its module is known, so that a fork ahead can do that much."""

    def __init__(self, engine: int, preview: Preview1) -> None:
        self._engine = engine
        self._preview = preview
        self._store = capi.store_new(engine, None, None)
        self._context = capi.store_context(self._store)
        self._module = ctypes.c_void_p()
        self._trap = ctypes.c_void_p()
        self._error: int | None = None
        self._instance = capi.Instance()
        self._memory = capi.Extern()
        self._entry = capi.Extern()

    def load(self, artifact: bytes, fuel: int, memory_bytes: int) -> None:
        """Take the machine code and the limits.

        Raises:
            EngineRefused: it was not written by this wasmtime for this machine.
        """
        capi.refuse(capi.module_deserialize(self._engine, artifact, len(artifact), ctypes.byref(self._module)))
        capi.refuse(capi.context_set_fuel(self._context, fuel))
        capi.store_limiter(self._store, memory_bytes, _MAX_TABLE_ELEMENTS, 1, _MAX_TABLES, 1)

    def run(self) -> None:
        """Instantiate it and call ``_start``.

        Raises:
            JobEnded: from inside a call. GuestTrapped, EngineRefused: wasmtime ended it.
            MemoryError: the host's part of it outgrew the allowance.
        """
        linker, preview = self._preview.linker, self._preview
        self._check(
            capi.linker_instantiate(
                linker, self._context, self._module, ctypes.byref(self._instance), ctypes.byref(self._trap)
            )
        )
        if self._find(b"memory", self._memory) == capi.EXTERN_MEMORY:
            preview.world.memory.attach(self._context, ctypes.addressof(self._memory) + capi.ITEM_OFFSET)
        kind = self._find(b"_start", self._entry)
        assert kind == capi.EXTERN_FUNC  # the compile step refused a module without it
        entry = ctypes.addressof(self._entry) + capi.ITEM_OFFSET
        self._check(capi.func_call(self._context, entry, None, 0, None, 0, ctypes.byref(self._trap)))

    def fuel_left(self) -> int:
        """What is left of the fuel."""
        left = ctypes.c_uint64()
        capi.refuse(capi.context_get_fuel(self._context, ctypes.byref(left)))
        return left.value

    def close(self) -> None:
        """Free it. Only a rehearsal does: a job's process ends with it."""
        if self._trap.value is not None:
            capi.trap_delete(self._trap)
        if self._error is not None:
            capi.error_delete(self._error)  # its backtrace would keep the machine code
        capi.store_delete(self._store)
        if self._module.value is not None:
            capi.module_delete(self._module)

    def _find(self, name: bytes, place: "ctypes.Array[ctypes.c_uint64]") -> int:
        """Put an export into ``place``. Answers its kind, -1 when there is none."""
        found = capi.export_get(self._context, ctypes.byref(self._instance), name, len(name), ctypes.byref(place))
        return place[0] & 0xFF if found else -1

    def _check(self, error: int | None) -> None:
        """Raise what a call left behind: what our own side threw comes first, it is why wasmtime stopped."""
        self._error = error
        failure = self._preview.failure
        if failure is not None:
            raise failure
        if self._trap.value is not None:
            raise capi.trapped(self._trap.value)
        capi.refuse(error)
