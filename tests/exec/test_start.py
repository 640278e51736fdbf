"""Does the zygote load only what its children use? Every job's fork pays for the rest."""

import json
import subprocess
import sys
from pathlib import Path

from mesh.exec.wasm.client import _BOOT
from mesh.exec.wasm.executor import open_wasm_executor

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
}
"""The first two also do work of their own in every forked child."""


def test_the_zygote_loads_nothing_that_its_children_do_not_use() -> None:
    boot, _, _ = _BOOT.partition("main(")
    tell = boot.format(path=[entry for entry in sys.path if entry]) + "import sys; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-I", "-S", "-c", tell], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split())
    assert "mesh.exec.wasm.zygote" in loaded
    assert not loaded & HEAVY


async def test_the_rehearsal_leaves_no_machine_code_behind(state_dir: Path) -> None:
    """A trap's backtrace keeps the module that it names: 20 plays left 40 mappings, which every fork copied."""
    async with open_wasm_executor(state_dir) as executor:
        await executor.start()
        record = json.loads((state_dir / "zygote.json").read_text())
        mappings = [line.split() for line in Path(f"/proc/{record['pid']}/maps").read_text().splitlines()]
    assert len(mappings) > 50
    assert [fields for fields in mappings if fields[1] == "r-xp" and len(fields) < 6] == []
