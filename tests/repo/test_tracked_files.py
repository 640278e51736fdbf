"""Do tracked files speak of the project alone: no registry's host name, no path of anybody's machine, no leftovers?"""

from collections.abc import Sequence
from pathlib import Path

# In pieces, so that this file does not find itself.
HOSTS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "npmmirror" + ".com",
    "deb." + "debian.org",
    "proxy." + "golang.org",
    "extra-" + "index-url",
]
MACHINE_PATHS = [
    "/" + "root/",
    "/" + "work/main",
    "/" + "work/shared",
    "." + "pyenv",
    "/" + "opt/pypi",
    "/" + "opt/wheels",
]
BINARY = {".wasm", ".png", ".gif", ".ico", ".woff2"}
MAX_TRACKED_BYTES = 4 * 1024 * 1024
"""A wasm module with an interpreter inside is the largest thing that belongs here."""


def offenders(root: Path, tracked: Sequence[Path], needles: list[str]) -> list[str]:
    found = []
    for path in tracked:
        if path.suffix in BINARY:
            continue
        text = (root / path).read_text()
        found += [f"{path}: {needle}" for needle in needles if needle in text]
    return found


def test_no_registry_host(root: Path, tracked: Sequence[Path]) -> None:
    assert offenders(root, tracked, HOSTS) == []


def test_no_path_of_a_machine(root: Path, tracked: Sequence[Path]) -> None:
    assert offenders(root, tracked, MACHINE_PATHS) == []


def test_npm_locks_name_no_address(root: Path, tracked: Sequence[Path]) -> None:
    locks = [path for path in tracked if path.name == "package-lock.json"]
    assert offenders(root, locks, ['"resolved"']) == []


def test_no_compiled_or_cached_file(tracked: Sequence[Path]) -> None:
    unwanted = {".pyc", ".so", ".o", ".log", ".orig", ".rej", ".sqlite", ".db"}
    assert [path for path in tracked if path.suffix in unwanted or "node_modules" in path.parts] == []


def test_no_huge_file(root: Path, tracked: Sequence[Path]) -> None:
    assert [path for path in tracked if (root / path).stat().st_size > MAX_TRACKED_BYTES] == []


def test_nothing_new_at_the_top(tracked: Sequence[Path]) -> None:
    folders = {path.parts[0] for path in tracked if len(path.parts) > 1}
    assert folders == {".ci", "devnet", "docs", "mesh", "protocols", "requirements", "tests"}
