"""What does compiling need of wasmtime's C API?  Called by the child that compiles alone."""

import ctypes
from ctypes import c_char_p, c_size_t, c_uint8, c_void_p

from mesh.exec.wasm.capi import EXTERN_FUNC, Vector, bind, bytes_of, refuse
from mesh.exec.wasm.lean import Final

__all__ = ["check_linkable", "compile_bytes", "exports", "imports", "serialize", "text_to_binary"]

_wat2wasm: Final = bind("wasmtime_wat2wasm", c_void_p, c_char_p, c_size_t, c_void_p)
_module_new: Final = bind("wasmtime_module_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
_module_serialize: Final = bind("wasmtime_module_serialize", c_void_p, c_void_p, c_void_p)
_module_imports: Final = bind("wasmtime_module_imports", None, c_void_p, c_void_p)
_module_exports: Final = bind("wasmtime_module_exports", None, c_void_p, c_void_p)
_import_module: Final = bind("wasm_importtype_module", c_void_p, c_void_p)
_import_name: Final = bind("wasm_importtype_name", c_void_p, c_void_p)
_export_name: Final = bind("wasm_exporttype_name", c_void_p, c_void_p)
_export_type: Final = bind("wasm_exporttype_type", c_void_p, c_void_p)
_kind: Final = bind("wasm_externtype_kind", c_uint8, c_void_p)
_as_function: Final = bind("wasm_externtype_as_functype_const", c_void_p, c_void_p)
_params: Final = bind("wasm_functype_params", c_void_p, c_void_p)
_results: Final = bind("wasm_functype_results", c_void_p, c_void_p)
_instantiate_pre: Final = bind("wasmtime_linker_instantiate_pre", c_void_p, c_void_p, c_void_p, c_void_p)


def text_to_binary(text: bytes) -> bytes:
    """WebAssembly text as a module.

    Raises:
        EngineRefused: it is none.
    """
    binary = Vector()
    refuse(_wat2wasm(text, len(text), ctypes.byref(binary)))
    return bytes_of(binary)


def compile_bytes(engine: int, data: bytes) -> int:
    """The address of the compiled module.

    Raises:
        EngineRefused: it is no valid module for this engine.
    """
    module = ctypes.c_void_p()
    refuse(_module_new(engine, data, len(data), ctypes.byref(module)))
    assert module.value is not None
    return module.value


def imports(module: int) -> list[tuple[str, str]]:
    """(module, name) of everything that it imports."""
    found = Vector()
    _module_imports(module, ctypes.byref(found))
    return [(_text(_import_module(item)), _text(_import_name(item))) for item in _items(found)]


def exports(module: int) -> dict[str, tuple[int, int, int]]:
    """What it exports, by name: the kind (``EXTERN_FUNC``, ...) and, of a function, how many values go in and out."""
    found = Vector()
    _module_exports(module, ctypes.byref(found))
    return {_text(_export_name(item)): _export(_export_type(item)) for item in _items(found)}


def check_linkable(linker: int, module: int) -> None:
    """Whether the imports have the types that the linker gives.

    Raises:
        EngineRefused: one has not.
    """
    refuse(_instantiate_pre(linker, module, ctypes.byref(ctypes.c_void_p())))


def serialize(module: int) -> memoryview:
    """The artifact, in memory of the library."""
    artifact = Vector()
    refuse(_module_serialize(module, ctypes.byref(artifact)))
    return memoryview((ctypes.c_char * artifact.size).from_address(artifact.data)).cast("B")


def _export(kind: int) -> tuple[int, int, int]:
    number = int(_kind(kind))
    if number != EXTERN_FUNC:
        return number, 0, 0
    function = _as_function(kind)
    return number, Vector.from_address(_params(function)).size, Vector.from_address(_results(function)).size


def _items(found: Vector) -> list[int]:
    return list((c_size_t * found.size).from_address(found.data)) if found.size else []


def _text(address: int) -> str:
    return bytes_of(Vector.from_address(address)).decode(errors="replace")
