"""Does the zygote load only what its children use? Every job's fork pays for the rest."""

import subprocess
import sys

from mesh.exec.wasm.client import _BOOT

HEAVY = {
    "threading",
    "random",
    "tempfile",
    "logging",
    "hashlib",
    "importlib.metadata",
    "inspect",
    "ast",
    "trio",
    "web3",
    "wasmtime",
    "msgspec",
    "typing",
    "enum",
    "collections",
    "contextlib",
    "socket",
    "mesh.exec.wasm.compile_child",
}
"""The first two also do work of their own in every forked child."""


def test_the_zygote_loads_nothing_that_its_children_do_not_use() -> None:
    boot, _, _ = _BOOT.partition("main(")
    tell = boot.format(path=[entry for entry in sys.path if entry]) + "import sys; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-I", "-S", "-c", tell], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split())
    assert "mesh.exec.wasm.zygote" in loaded
    assert not loaded & HEAVY
