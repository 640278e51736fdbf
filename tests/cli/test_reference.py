"""Do the reference pages say what the code does? `make docs` writes them anew."""

from pathlib import Path

import pytest

from mesh.base.config import settings
from mesh.base.errors import EXIT_CODES
from mesh.cli.reference import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return dict(pages())


def test_the_pages_are_those_of_the_code(written) -> None:
    stale = [name for name, text in written.items() if (FOLDER / name).read_text() != text]
    assert stale == [], "run: make docs"


def test_no_page_is_left_over(written) -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == set(written)


def test_every_verb_setting_and_code_is_there(written) -> None:
    for verb in ("mesh submit", "mesh wallet deposit", "mesh deal verify", "mesh config set", "mesh key import"):
        assert f"\n## {verb}\n" in written["cli.md"]
    for name in settings():
        assert f"`{name}`" in written["config.md"]
    for code in EXIT_CODES:
        assert f"\n| {code} | " in written["exit-codes.md"]


def test_hidden_options_stay_hidden(written) -> None:
    assert "--ready-file" not in written["cli.md"]


def test_tables_hold_together(written) -> None:
    for name, text in written.items():
        for block in text.split("\n\n"):
            rows = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) <= 1, (name, rows[0])
