"""Does the wheel hold everything that a node needs at run time, and nothing that it does not?"""

import configparser
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGES = ("mesh", "protocols", "devnet")
DATA = {".json", ".sql", ".wasm", ".yaml", ".cu", ".html", ".css", ".js", ".sol"}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    # Straight from the backend: no isolated environment, so no network.
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("mesh_compute-*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def left_out(path: Path) -> bool:
    """Tools that make what is committed: they need Node.js, and a node never runs them."""
    return path.name == "ruff.toml" or path.parts[:3] == ("protocols", "contracts", "toolchain")


def test_modules_and_data_are_in(wheel: zipfile.ZipFile, tracked: Sequence[Path]) -> None:
    wanted = {
        path.as_posix()
        for path in tracked
        if path.parts[0] in PACKAGES and path.suffix in DATA | {".py"} and not left_out(path)
    }
    assert wanted - set(wheel.namelist()) == set()


@pytest.mark.parametrize(
    "pattern", ["protocols/contracts/artifacts/*.json", "mesh/store/**/*.sql", "devnet/jobs/**/*.wasm"]
)
def test_each_kind_of_data_exists(wheel: zipfile.ZipFile, pattern: str) -> None:
    """The test above passes on an empty folder; this one does not."""
    root, _, rest = pattern.partition("/")
    suffix = Path(rest).suffix
    folder = f"{root}/" + rest.split("*")[0]
    assert [name for name in wheel.namelist() if name.startswith(folder) and name.endswith(suffix)]


def test_nothing_else_is_in(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (metadata,) = tops - set(PACKAGES)
    assert metadata.endswith(".dist-info")
    unwanted = [name for name in wheel.namelist() if left_out(Path(name)) or name.endswith(".pyc")]
    assert unwanted == []


def test_licence_is_in(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
    assert b"Apache License" in wheel.read(licence)


def test_entry_points(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert points["console_scripts"]["mesh"] == "mesh.cli.app:main"
    assert points["mesh.verbs"]["devnet"] == "devnet.cli:app"
    for target in (points["console_scripts"]["mesh"], points["mesh.verbs"]["devnet"]):
        module = target.split(":")[0].replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & set(wheel.namelist()), target
