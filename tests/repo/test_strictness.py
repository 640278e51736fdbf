"""Does a run of the tests fail where it should: on a skip under MESH_CI, on a warning, on an unknown marker?"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


@pytest.fixture
def suite(root: Path, tmp_path: Path) -> Path:
    """Our settings and hooks over a suite of its own."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_bytes((root / "pyproject.toml").read_bytes())
    for name in ("conftest.py", "clock.py"):
        (tmp_path / "tests" / name).write_bytes((root / "tests" / name).read_bytes())
    return tmp_path


def outcome(suite: Path, files: Mapping[str, str], **env: str) -> tuple[dict[str, str], str]:
    """Name of each test file -> what became of it, and everything that pytest said."""
    for name, body in files.items():
        (suite / "tests" / f"test_{name}.py").write_text(body)
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("MESH_", "PYTEST_"))} | env
    call = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--continue-on-collection-errors"]
    done = subprocess.run(call, cwd=suite, env=settings, capture_output=True, text=True, check=False)
    line = re.compile(r"^(PASSED|FAILED|ERROR|XFAIL|SKIPPED)\b.*?tests/test_(\w+)\.py", re.MULTILINE)
    return {name: word for word, name in line.findall(done.stdout)}, done.stdout


SKIPS = {
    "call": "import pytest\ndef test_one(): pytest.skip('no tool')",
    "mark": "import pytest\n@pytest.mark.skipif(True, reason='no tool')\ndef test_one(): pass",
    "fixture": "import pytest\n@pytest.fixture\ndef tool(): pytest.skip('no tool')\ndef test_one(tool): pass",
    "file": "import pytest\npytest.importorskip('there_is_no_such_module')\ndef test_one(): pass",
}
EXPECTED_FAILURE = {"xfail": "import pytest\n@pytest.mark.xfail\ndef test_one(): assert False"}
SLOPPY = {
    "warning": "import warnings\ndef test_one(): warnings.warn('old')",
    "marker": "import pytest\n@pytest.mark.nonsense\ndef test_one(): pass",
    "leak": "import gc\ndef test_one(tmp_path):\n    open(tmp_path / 'left open', 'w')\n    gc.collect()",
    "await": "import trio\nasync def test_one():\n    trio.sleep(0)",
    "pass": "import pytest\n@pytest.mark.xfail\ndef test_one(): pass",
}


def test_a_skip_fails_in_ci(suite: Path) -> None:
    became, said = outcome(suite, SKIPS | EXPECTED_FAILURE, MESH_CI="1")
    assert became.pop("xfail") == "XFAIL"
    assert set(became) == set(SKIPS), said
    assert set(became.values()) <= {"FAILED", "ERROR"}, said
    assert "MESH_CI forbids" in said


def test_a_skip_is_shown_at_home(suite: Path) -> None:
    became, said = outcome(suite, SKIPS)
    assert became == dict.fromkeys(SKIPS, "SKIPPED"), said


def test_sloppiness_fails(suite: Path) -> None:
    became, said = outcome(suite, SLOPPY | {"clean": "def test_one(): pass"})
    assert became.pop("clean") == "PASSED"
    assert set(became) == set(SLOPPY), said
    assert set(became.values()) <= {"FAILED", "ERROR"}, said
