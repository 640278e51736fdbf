"""Do the commands that we tell people to type exist, and does `make help` name them all?"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

TARGET = re.compile(r"^([a-z][a-z0-9-]*):(?!=)", re.MULTILINE)
TYPED = re.compile(r"`make ([a-z][a-z-]*)[^`]*`|^make ([a-z][a-z-]*)", re.MULTILINE)


def targets(root: Path) -> set[str]:
    return set(TARGET.findall((root / "Makefile").read_text()))


def test_help_lists_every_target(root: Path) -> None:
    said = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[1] for line in said.splitlines()}
    assert listed == targets(root)


def test_make_alone_is_help(root: Path) -> None:
    alone, asked = (
        subprocess.run(["make", *words], cwd=root, capture_output=True, text=True, check=True).stdout
        for words in ([], ["help"])
    )
    assert alone == asked


def test_every_target_is_phony(root: Path) -> None:
    text = (root / "Makefile").read_text()
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()}
    assert phony == targets(root)


def test_commands_in_documents_exist(root: Path, tracked: Sequence[Path]) -> None:
    known = targets(root)
    unknown = [
        f"{path}: make {a or b}"
        for path in tracked
        if path.suffix == ".md"
        for a, b in TYPED.findall((root / path).read_text())
        if (a or b) not in known
    ]
    assert unknown == [], "\n".join(map(str, unknown))


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_opens_with_the_two_commands(root: Path, command: str) -> None:
    assert command in (root / "README.md").read_text().split("## Where to next?")[0]


def test_ci_stages_are_targets(root: Path) -> None:
    stages = re.search(r"^stages=\(([^)]*)\)", (root / ".ci" / "run").read_text(), re.MULTILINE)
    assert stages is not None
    assert set(stages[1].split()) <= targets(root)
    assert stages[1].split()[-1] == "test", "pytest's summary has to close the output"


def test_ci_run_is_valid_and_executable(root: Path) -> None:
    script = root / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
