"""How is the pinned engine built?  Imports wasmtime: for the zygote and its children, never for the node."""

from wasmtime import Config, Engine
from wasmtime._bindings import wasmtime_config_memory_init_cow_set

from mesh.exec.wasm.pin import SWITCHES

__all__ = ["build_engine"]


def build_engine() -> Engine:
    """An engine with the switches of ``pin.py``; starts no thread."""
    config = Config()
    for name, value in SWITCHES:
        setattr(config, name, value)
    # Copy data segments instead of mapping them from a memfd: a locked-in child may make no descriptor of that kind.
    wasmtime_config_memory_init_cow_set(config.ptr(), False)
    return Engine(config)
