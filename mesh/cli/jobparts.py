"""Are the files that a job names there, and what they should be?"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from protocols.job import JobSpec, Problem
from protocols.job.sources import LocalPath, Source

__all__ = ["missing_parts"]

WASM_MAGIC: Final = b"\0asm"
"""How every WebAssembly module, and every component, begins."""


def missing_parts(job: JobSpec, lines: Mapping[str, int], base: Path) -> list[Problem]:
    """What is wrong with the module and the inputs that ``job`` takes from this disk; paths count from ``base``."""
    found = []
    if job.module is not None:
        found += _problem("module", job.module, lines, base, module=job.executor == "wasm")
    for number, one in enumerate(job.inputs):
        found += _problem(f"inputs[{number}].source", one.source, lines, base, module=False)
    return found


def _problem(path: str, source: Source, lines: Mapping[str, int], base: Path, *, module: bool) -> list[Problem]:
    if not isinstance(source, LocalPath):
        return []
    place = (base / source.path).expanduser()
    complaint = _complaint(place, base, module=module)
    if complaint is None:
        return []
    line = lines.get(path) or lines.get(path.rpartition(".")[0]) or 0
    return [Problem(path, line, *complaint)]


def _complaint(place: Path, base: Path, *, module: bool) -> tuple[str, str] | None:
    """What is wrong and what to do."""
    if not place.exists():
        return f"there is no {place}", f"paths are relative to the job file: ls {base}"
    if not os.access(place, os.R_OK):
        return f"{place} cannot be read", f"ls -l {place}"
    if not module:
        return None
    if not place.is_file():
        return f"{place} is a folder", "name the .wasm file"
    with place.open("rb") as file:
        if file.read(len(WASM_MAGIC)) != WASM_MAGIC:
            return f"{place} is no WebAssembly module", "compile the program for wasm32-wasip1 and name the .wasm file"
    return None
