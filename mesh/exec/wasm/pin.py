"""Which wasmtime runs the jobs, with which switches, and what is that class of results called?

Everything here enters the key of the compile cache, and the version names the determinism class: two nodes of one class
give equal bytes and equal fuel. Nothing here imports wasmtime, so the node may. The zygote wants the switches alone: what
else is needed is imported where it is used, because every job's fork pays for the modules that the zygote has loaded.
"""

from mesh.exec.wasm.lean import Final

__all__ = [
    "DETERMINISM",
    "MAX_WASM_STACK_BYTES",
    "PINNED_VERSION",
    "SWITCHES",
    "artifact_salt",
    "check_installed",
]

PINNED_VERSION: Final = "50.0.1"
"""Fuel counts and stack depths are wasmtime's own business, so a version is a class."""

DETERMINISM: Final = f"wasm/wasmtime-{PINNED_VERSION}"

MAX_WASM_STACK_BYTES: Final = 1 << 20
"""Half of the 2 MiB that wasmtime would take, so that Python's frames fit below it in an 8 MiB process stack."""

SWITCHES: Final[tuple[tuple[str, bool | int | str], ...]] = (
    ("consume_fuel", True),
    ("epoch_interruption", False),  # a wall clock trap leaves fuel unreadable; SIGKILL is cheaper and says the same
    ("cranelift_nan_canonicalization", True),
    ("cranelift_opt_level", "speed"),
    ("wasm_relaxed_simd", True),
    ("wasm_relaxed_simd_deterministic", True),
    ("wasm_simd", True),
    ("wasm_bulk_memory", True),
    ("wasm_reference_types", True),
    ("wasm_multi_value", True),
    ("wasm_tail_call", True),
    ("wasm_exceptions", True),
    ("wasm_threads", False),  # two threads have no order
    ("wasm_multi_memory", False),
    ("wasm_memory64", False),  # bounds checks in software, and a 32-bit memory always fits the reservation
    ("parallel_compilation", False),  # the compile child may not start threads
    ("max_wasm_stack", MAX_WASM_STACK_BYTES),
)
"""Applied to ``wasmtime.Config`` in this order."""


def check_installed() -> str:
    """An empty string when the pinned wasmtime is installed, else a sentence that says what to do."""
    import importlib.metadata

    try:
        found = importlib.metadata.version("wasmtime")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found == PINNED_VERSION:
        return ""
    return (
        f"wasmtime {PINNED_VERSION} is required, found {found}: results are only comparable inside one version. "
        f"Type `pip install wasmtime=={PINNED_VERSION}`."
    )


def artifact_salt() -> bytes:
    """What besides the module decides the machine code: version, switches and this CPU. 32 bytes."""
    import hashlib
    import json
    import platform

    parts = [PINNED_VERSION, json.dumps(SWITCHES), platform.machine(), _cpu_features()]
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _cpu_features() -> str:
    """The kernel's list of CPU features; empty where it publishes none (then wasmtime's own check at load decides)."""
    from pathlib import Path

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return " ".join(sorted(value.split()))
    return ""
