"""Is this job well-formed, before anything is started for it?"""

import posixpath
import unicodedata
from pathlib import Path
from typing import Final

from mesh.exec.executor import JobRefused, JobRequest, Limits
from mesh.exec.wasm.artifacts import MAX_MODULE_BYTES

__all__ = ["check_limits", "check_request", "read_module", "read_module_at_once"]

MAX_ARGUMENT_BYTES: Final = 128 * 1024
"""argv and env together: what Linux gives one argument, and it fits the datagram to the zygote."""

MAX_ARGUMENTS: Final = 4096
"""Items of argv and env together."""

MAX_INPUTS: Final = 64
"""Each takes a descriptor of the message to the zygote."""

MAX_OUTPUTS: Final = 16
"""Each takes a descriptor; a job that needs more makes folders."""

MAX_SEED_BYTES: Final = 64
"""A seed is a hash."""

MAX_MEMORY_MIB: Final = 4096
"""What a 32-bit guest can address."""

MAX_FUEL: Final = (1 << 63) - 1
"""Fuel is unsigned 64 bit in wasmtime and signed in logs of others."""

MAX_DISK_MIB: Final = 1 << 20
"""1 TiB."""

SMALL_MODULE_BYTES: Final = 256 * 1024
"""Read without a thread: it was just laid out, so 50 us from memory, where a thread costs ten times that."""

MAX_WALL_MS: Final = 30 * 24 * 3600 * 1000
"""A month."""


def check_request(job: JobRequest) -> None:
    """Raise ``JobRefused`` with code ``bad_request`` and the field's name when something is malformed."""
    _check_strings(job)
    if len(job.inputs) > MAX_INPUTS or len(job.outputs) > MAX_OUTPUTS:
        raise _bad("inputs, outputs", f"at most {MAX_INPUTS} inputs and {MAX_OUTPUTS} outputs")
    if len(job.seed) > MAX_SEED_BYTES:
        raise _bad("seed", f"at most {MAX_SEED_BYTES} bytes")
    if not 0 <= job.epoch < 1 << 33:
        raise _bad("epoch", "seconds since 1970, before the year 2242")
    seen: set[str] = set()
    for guest_path in [path for path, _ in job.inputs] + [rule.path for rule in job.outputs]:
        if posixpath.normpath(guest_path) != guest_path or not guest_path.startswith("/") or "\0" in guest_path:
            raise _bad("path", f"{guest_path!r} must be absolute and without `.`, `..` or a slash at its end")
        if guest_path.startswith("//") or guest_path in seen:
            raise _bad("path", f"{guest_path!r} is used twice or starts with two slashes")
        seen.add(guest_path)
    _check_outputs(job)


def _check_outputs(job: JobRequest) -> None:
    names: set[str] = set()
    for rule in job.outputs:
        folded = unicodedata.normalize("NFC", rule.name).casefold()
        if rule.name in ("", ".", "..") or "/" in rule.name or "\0" in rule.name or len(rule.name.encode()) > 255:
            raise _bad("outputs.name", f"{rule.name!r} is no file name")
        if folded in names:
            raise _bad("outputs.name", f"{rule.name!r} is used twice")
        names.add(folded)
        if rule.max_bytes < 0 or rule.max_files < 0:
            raise _bad("outputs", "max_bytes and max_files are not negative")


def _check_strings(job: JobRequest) -> None:
    total = count = 0
    for text in [*job.argv, *(part for pair in job.env for part in pair)]:
        try:
            total += len(text.encode()) + 1
        except UnicodeEncodeError:
            raise _bad("command, env", f"{text!r} is not valid Unicode") from None
        count += 1
        if "\0" in text:
            raise _bad("command, env", "a NUL character cannot be passed")
    for name, _ in job.env:
        if not name or "=" in name:
            raise _bad("env", f"{name!r} is no variable name")
    if total > MAX_ARGUMENT_BYTES or count > MAX_ARGUMENTS:
        raise _bad("command, env", f"at most {MAX_ARGUMENT_BYTES} bytes in {MAX_ARGUMENTS} items; use an input file")


def check_limits(limits: Limits) -> None:
    """Raise ``JobRefused`` with code ``bad_request`` for a limit outside what can be enforced."""
    for name, value, low, high in (
        ("wall_ms", limits.wall_ms, 1, MAX_WALL_MS),
        ("fuel", limits.fuel, 1, MAX_FUEL),
        ("memory_mib", limits.memory_mib, 1, MAX_MEMORY_MIB),
        ("disk_mib", limits.disk_mib, 0, MAX_DISK_MIB),
        ("stdout_bytes", limits.stdout_bytes, 0, 1 << 40),
        ("max_files", limits.max_files, 0, 1 << 20),
        ("pids", limits.pids, 1, 1 << 20),
    ):
        if not low <= value <= high:
            raise _bad(f"limits.{name}", f"{value} is outside {low}..{high}")


def read_module_at_once(path: Path) -> bytes | None:
    """A small module's bytes; None for any other, or one that cannot be read: `read_module` tells."""
    try:
        return path.read_bytes() if path.stat().st_size <= SMALL_MODULE_BYTES else None
    except OSError:
        return None


def read_module(path: Path) -> bytes:
    """The module's bytes. Blocking.

    Raises:
        JobRefused: ``input_missing`` or ``module_too_large``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODULE_BYTES + 1)
    except OSError as error:
        raise JobRefused(f"the module {path} cannot be read: {error.strerror}", code="input_missing") from error
    if len(data) > MAX_MODULE_BYTES:
        raise JobRefused(
            f"the module is larger than {MAX_MODULE_BYTES >> 20} MiB: strip it, or move its data to an input",
            code="module_too_large",
        )
    return data


def _bad(field: str, message: str) -> JobRefused:
    return JobRefused(f"{field}: {message}", code="bad_request")
