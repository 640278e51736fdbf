"""What do the tests of the repository itself look at? The files that git tracks, and nothing else that lies around."""

import ast
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__: list[str] = []

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> Sequence[Path]:
    """Every tracked file that is there, relative to the root."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [Path(name.decode()) for name in names.split(b"\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


@pytest.fixture(scope="session")
def sources(tracked: Sequence[Path]) -> dict[Path, ast.Module]:
    """Every Python file of ours, parsed. Example jobs are programs of their own: they live by no rule but their own."""
    ours = [path for path in tracked if path.suffix == ".py" and path.parts[:2] != ("devnet", "jobs")]
    return {path: ast.parse((ROOT / path).read_text()) for path in ours}
