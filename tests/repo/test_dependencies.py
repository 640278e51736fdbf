"""Is every direct dependency declared, explained and used, and nothing else?"""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Sources = dict[Path, ast.Module]
OURS = {"mesh", "protocols", "devnet", "tests"}
# Never imported by name, and needed all the same.
USED_OTHERWISE = {
    "eth-hash": "web3 finds its keccak through the extra [pycryptodome]",
}


def direct(path: Path) -> dict[str, Requirement]:
    lines = path.read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.fixture(scope="module")
def declared(root: Path) -> Mapping[str, dict[str, Requirement]]:
    """Name of a set -> what it names itself. `overrides` replaces versions that a dependency of ours pins."""
    files = [*(root / "requirements").glob("*.in"), root / "requirements" / "overrides.txt"]
    return {path.stem: direct(path) for path in files}


def imported(sources: Sources, *tops: str) -> dict[str, Path]:
    """Distribution -> one file below ``tops`` that imports it. Unknown modules keep their own name."""
    distributions = importlib.metadata.packages_distributions()
    found: dict[str, Path] = {}
    for path, tree in sources.items():
        if path.parts[0] not in tops:
            continue
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                top = module.split(".")[0]
                if top not in OURS and top not in sys.stdlib_module_names:
                    owners = distributions.get(top, [top])
                    found.setdefault(canonicalize_name(owners[0]), path)
    return found


def test_package_metadata_equals_runtime_in(root: Path, declared: Mapping[str, dict[str, Requirement]]) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    listed = {canonicalize_name(Requirement(line).name): Requirement(line) for line in project["dependencies"]}
    assert listed == declared["runtime"]


def test_what_a_node_imports_is_declared(sources: Sources, declared: Mapping[str, dict[str, Requirement]]) -> None:
    optional = {"cupy-cuda12x", "cupy-cuda13x", "cupy", *declared["overrides"]}
    undeclared = {
        name: str(path)
        for name, path in imported(sources, "mesh", "protocols").items()
        if name not in declared["runtime"] and name not in optional
    }
    assert undeclared == {}, "\n".join(map(str, undeclared.items()))


def test_what_devnet_imports_is_declared(sources: Sources, declared: Mapping[str, dict[str, Requirement]]) -> None:
    known = declared["runtime"] | declared["devnet"] | declared["build"]
    assert {name: str(path) for name, path in imported(sources, "devnet").items() if name not in known} == {}


def test_what_tests_import_is_declared(sources: Sources, declared: Mapping[str, dict[str, Requirement]]) -> None:
    known = declared["runtime"] | declared["devnet"] | declared["build"] | declared["dev"]
    assert {name: str(path) for name, path in imported(sources, "tests").items() if name not in known} == {}


def test_what_is_declared_is_imported(sources: Sources, declared: Mapping[str, dict[str, Requirement]]) -> None:
    used = imported(sources, "mesh", "protocols", "devnet")
    needless = [
        name for name in declared["runtime"] | declared["devnet"] if name not in used and name not in USED_OTHERWISE
    ]
    assert needless == [], "\n".join(map(str, needless))


def test_every_direct_dependency_is_explained_once(root: Path, declared: Mapping[str, dict[str, Requirement]]) -> None:
    text = (root / "docs" / "dependencies.md").read_text()
    rows = [canonicalize_name(name) for name in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    optional = {
        canonicalize_name(Requirement(line).name)
        for lines in project["optional-dependencies"].values()
        for line in lines
    }
    npm = set(json.loads((root / "package.json").read_text())["devDependencies"])
    assert sorted(rows) == sorted({name for names in declared.values() for name in names} | optional | npm)


def test_every_row_answers_every_question(root: Path) -> None:
    lines = (root / "docs" / "dependencies.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5, row
        assert all(cells), row
