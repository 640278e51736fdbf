"""How is the pinned engine built?  Loads wasmtime's library: for the zygote and its children, never for the node."""

from mesh.exec.wasm import capi
from mesh.exec.wasm.pin import SWITCHES

__all__ = ["build_engine"]


def build_engine() -> int:
    """The address of an engine with the switches of ``pin.py``; starts no thread."""
    config = int(capi.config_new())
    for name, value in SWITCHES:
        capi.set_switch(config, name, value)
    # Copy data segments instead of mapping them from a memfd: a locked-in child may make no descriptor of that kind.
    capi.set_switch(config, "memory_init_cow", False)
    return int(capi.engine_new(config))
