"""Does the first command on a fresh machine say what is missing, and the second do nothing?"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

WITHOUT = """
import runpy, sys
sys.modules[{module!r}] = None
sys.argv = ["bootstrap.py", "demo"]
runpy.run_path({script!r}, run_name="__main__")
"""
OLD = """
import runpy, sys
sys.version_info = (3, 9, 2)
sys.argv = ["bootstrap.py", "demo"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """A clone before its first command: the script and the locks, no environment."""
    (tmp_path / "requirements").mkdir()
    for path in [*(root / "requirements").glob("*.txt"), root / "requirements" / "bootstrap.py"]:
        (tmp_path / "requirements" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((root / "pyproject.toml").read_bytes())
    return tmp_path


def start(clone: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings: Mapping[str, str] = os.environ | {"MESH_WHEELS": str(clone / "wheels")} | env
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=clone, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_missing_venv_is_named(clone: Path, module: str) -> None:
    script = str(clone / "requirements" / "bootstrap.py")
    done = start(clone, "-c", WITHOUT.format(module=module, script=script))
    assert done.returncode == 1
    assert module in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_old_python_is_named(clone: Path) -> None:
    script = str(clone / "requirements" / "bootstrap.py")
    done = start(clone, "-c", OLD.format(script=script))
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_unknown_set_is_named(clone: Path) -> None:
    done = start(clone, "requirements/bootstrap.py", "everything")
    assert done.returncode == 1
    assert "demo, dev, node" in done.stderr


@pytest.mark.slow
def test_no_index_says_what_to_check(clone: Path) -> None:
    """An empty folder of wheels and no network: the environment is made, the fetch fails, and it says so."""
    done = start(
        clone,
        "requirements/bootstrap.py",
        "demo",
        PIP_NO_INDEX="1",
        PIP_CONFIG_FILE=os.devnull,
        PIP_FIND_LINKS="",
        PIP_EXTRA_INDEX_URL="",
    )
    assert done.returncode == 1
    assert "could not fetch what requirements/build.txt names" in done.stderr
    assert "package index" in done.stderr
    assert not list((clone / ".venv").glob(".installed-*"))


def test_installed_is_not_installed_again(root: Path, clone: Path) -> None:
    """With the stamps of this very lock and packaging, nothing is made or fetched: not even an environment."""
    ask = (
        "import runpy\n"
        "b = runpy.run_path('requirements/bootstrap.py')\n"
        "from pathlib import Path\n"
        "Path('.venv').mkdir()\n"
        "Path('.venv/.installed-dev').write_text(b['digest'](Path('requirements/dev.txt').read_bytes()))\n"
        "Path('.venv/.installed-editable').write_text(b['digest'](b['packaging_text']()))\n"
        "print([b['main']([name]) for name in ('dev', 'demo')])\n"
    )
    done = start(clone, "-c", ask)
    assert (done.returncode, done.stdout) == (0, "[0, 0]\n"), done.stderr
    assert sorted(path.name for path in (clone / ".venv").iterdir()) == [".installed-dev", ".installed-editable"]
    assert not (clone / "wheels").exists()


def test_a_changed_lock_is_noticed(clone: Path) -> None:
    ask = (
        "import runpy\n"
        "b = runpy.run_path('requirements/bootstrap.py')\n"
        "from pathlib import Path\n"
        "lock = Path('requirements/dev.txt')\n"
        "Path('.venv').mkdir()\n"
        "Path('.venv/.installed-dev').write_text(b['digest'](lock.read_bytes()))\n"
        "here = b['Environment'](Path.cwd())\n"
        "before = here.has(('demo', 'dev'))\n"
        "lock.write_text(lock.read_text() + '\\n')\n"
        "print(before, here.has(('demo', 'dev')))\n"
    )
    assert start(clone, "-c", ask).stdout == "True False\n"


def test_packaging_text_is_what_an_install_freezes(clone: Path) -> None:
    ask = "import runpy; print(runpy.run_path('requirements/bootstrap.py')['packaging_text']().decode())"
    text = start(clone, "-c", ask).stdout
    assert "[project.scripts]" in text
    assert "[tool.hatch.build]" in text
    assert "[tool.pytest" not in text


def test_only_what_is_missing_is_asked_for(clone: Path) -> None:
    """A distribution counts by the hash of its bytes: a damaged or replaced file is fetched again."""
    (clone / "wheels").mkdir()
    (clone / "wheels" / "here-1-py3-none-any.whl").write_bytes(b"here")
    (clone / "wheels" / "damaged-1-py3-none-any.whl").write_bytes(b"something else")
    pins = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("here", "damaged", "absent")}
    lock = "\n".join(f"{name}==1 \\\n    --hash=sha256:{pin}\n    # via us" for name, pin in pins.items())
    (clone / "requirements" / "some.txt").write_text(lock + "\n")
    ask = (
        "import runpy\n"
        "from pathlib import Path\n"
        "b = runpy.run_path('requirements/bootstrap.py')\n"
        "print(b['lacking'](Path('requirements/some.txt'), Path('wheels')))\n"
    )
    named = [line.split("==")[0] for line in start(clone, "-c", ask).stdout.splitlines() if "==" in line]
    assert named == ["damaged", "absent"]
