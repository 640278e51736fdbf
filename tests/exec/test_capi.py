"""Does the hand-made binding of wasmtime's library say the same as the package's own?"""

import ctypes
from typing import Any

import pytest
from wasmtime import _bindings, _ffi

from mesh.exec.wasm import capi, compiler
from mesh.exec.wasm.pin import SWITCHES

BOUND = {
    function.__name__: function
    for module in (capi, compiler)
    for function in vars(module).values()
    if isinstance(function, ctypes._CFuncPtr)
}


def width(kind: Any) -> tuple[int, bool]:
    """(bytes, is it an address) of a C type; nothing is (0, False)."""
    if kind is None:
        return 0, False
    address = kind in (ctypes.c_void_p, ctypes.c_char_p) or issubclass(kind, (ctypes._Pointer, ctypes._CFuncPtr))
    return ctypes.sizeof(kind), address


@pytest.mark.parametrize("name", sorted(BOUND))
def test_a_prototype_is_the_packages_own(name: str) -> None:
    ours, theirs = BOUND[name], getattr(_bindings, "_" + name)
    assert [width(kind) for kind in ours.argtypes] == [width(kind) for kind in theirs.argtypes]
    assert width(ours.restype) == width(theirs.restype)


def test_every_part_is_looked_at() -> None:
    assert len(BOUND) > 30
    assert {"wasmtime_linker_instantiate", "wasmtime_module_new", "wasmtime_trap_code"} <= set(BOUND)


@pytest.mark.parametrize("name", [name for name, _ in SWITCHES])
def test_a_switch_takes_what_the_package_gives_it(name: str) -> None:
    theirs = getattr(_bindings, f"_wasmtime_config_{name}_set")
    config = capi.config_new()
    value = dict(SWITCHES)[name]
    capi.set_switch(config, name, value)
    size, _ = width(theirs.argtypes[1])
    assert size == (1 if isinstance(value, bool | str) else 8)


def test_structures_are_as_large_as_the_packages() -> None:
    assert ctypes.sizeof(capi.Vector) == ctypes.sizeof(_ffi.wasm_byte_vec_t)
    assert ctypes.sizeof(capi.Instance) == ctypes.sizeof(_ffi.wasmtime_instance_t)
    assert ctypes.sizeof(capi.Extern) == ctypes.sizeof(_ffi.wasmtime_extern_t)
    assert _ffi.wasmtime_extern_t.of.offset == capi.ITEM_OFFSET
    assert ctypes.sizeof(_ffi.wasmtime_val_raw_t) == 16
    assert _ffi.WASMTIME_EXTERN_FUNC.value == capi.EXTERN_FUNC
    assert _ffi.WASMTIME_EXTERN_MEMORY.value == capi.EXTERN_MEMORY
    assert _ffi.wasmtime_trap_code_enum.WASMTIME_TRAP_CODE_OUT_OF_FUEL.value == capi.TRAP_OUT_OF_FUEL


def test_a_refusal_is_wasmtimes_own_text() -> None:
    with pytest.raises(capi.EngineRefused, match="expected"):
        compiler.text_to_binary(b"(module (nothing))")
