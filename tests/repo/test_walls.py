"""Would `make lint` notice an import that points the wrong way? Each wall is broken once, in a copy, to see."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PACKAGES = ("mesh", "protocols", "devnet")


@pytest.fixture
def copy(root: Path, tracked: Sequence[Path], tmp_path: Path) -> Path:
    """The packages' modules and the rules that hold them, in a folder that a test may damage."""
    for path in [*tracked, Path("pyproject.toml"), Path("protocols/ruff.toml")]:
        if (path.parts[0] in PACKAGES and path.suffix in (".py", ".toml")) or path.name == "pyproject.toml":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, tmp_path / path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    call = [str(BIN / "lint-imports"), "--no-cache"]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)


def test_walls_stand(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


BROKEN = {
    "mesh is not allowed to import devnet": ("mesh/base/errors.py", "import devnet.sim"),
    "protocols is not allowed to import mesh": ("protocols/units.py", "import mesh.base"),
    "mesh.net is not allowed to import mesh.store": ("mesh/net/link.py", "import mesh.store"),
    "mesh.base is not allowed to import mesh.engine": ("mesh/base/clock.py", "import mesh.engine"),
    "mesh.store is not allowed to import mesh.node": ("mesh/store/rows.py", "import mesh.node"),
    "- mesh.elsewhere": ("mesh/elsewhere.py", ""),
    "mesh.api is not allowed to import mesh.net": ("mesh/api/port.py", "import mesh.net.link"),
    "protocols is not allowed to import trio": ("protocols/units.py", "import trio"),
    "protocols is not allowed to import time": ("protocols/hashing.py", "import time"),
    "protocols is not allowed to import concurrent": ("protocols/state.py", "from concurrent.futures import Future"),
}
"""What the check has to say -> the file and the line that it has to say it about."""


def test_broken_walls_are_seen(copy: Path) -> None:
    for where, line in BROKEN.values():
        path = copy / where
        path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    assert [words for words in BROKEN if words not in done.stdout] == [], done.stdout


@pytest.mark.parametrize(
    "line",
    ["import time", "import random", "import os", "import trio", "from datetime import datetime\ndatetime.now()"],
)
def test_the_rules_may_not_ask_the_world(copy: Path, line: str) -> None:
    (copy / "protocols" / "leak.py").write_text(f'"""What leaks?"""\n\n{line}\n')
    call = [str(BIN / "ruff"), "check", "--no-cache", "--select", "TID251", "protocols"]
    done = subprocess.run(call, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TID251" in done.stdout
    outside = copy / "mesh" / "leak.py"
    (copy / "protocols" / "leak.py").rename(outside)
    call[-1] = "mesh/leak.py"
    assert subprocess.run(call, cwd=copy, capture_output=True, check=False).returncode == 0
