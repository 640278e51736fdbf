"""Do the documents hold together: links resolve, every page can be reached, every decision is listed?"""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ADR_HEADINGS = ["Context", "Decision", "Evidence", "Consequences"]


def prose(path: Path) -> str:
    """A document without its code blocks, where brackets mean other things."""
    return FENCE.sub("", path.read_text())


def links(path: Path) -> list[str]:
    """Targets inside this repository."""
    targets = [first or second for first, second in LINK.findall(prose(path))]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as the usual renderers make them."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(path)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


@pytest.fixture(scope="module")
def documents(root: Path, tracked: Sequence[Path]) -> list[Path]:
    return [root / path for path in tracked if path.suffix == ".md"]


def test_links_resolve(root: Path, documents: list[Path]) -> None:
    broken = []
    for document in documents:
        for target in links(document):
            name, _, anchor = target.partition("#")
            page = (document.parent / name).resolve() if name else document
            if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
                broken.append(f"{document.relative_to(root)}: {target}")
    assert broken == [], "\n".join(map(str, broken))


def test_every_page_can_be_reached(root: Path, documents: list[Path]) -> None:
    seen = {root / "README.md"}
    ahead = list(seen)
    while ahead:
        document = ahead.pop()
        for target in links(document):
            page = (document.parent / target.partition("#")[0]).resolve()
            if page.suffix == ".md" and page.exists() and page not in seen:
                seen.add(page)
                ahead.append(page)
    lost = [
        str(page.relative_to(root)) for page in documents if page.is_relative_to(root / "docs") and page not in seen
    ]
    assert lost == [], "\n".join(map(str, lost))


def decisions(root: Path) -> list[Path]:
    return sorted((root / "docs" / "adr").glob("[0-9]*.md"))


def test_decisions_are_listed_and_numbered(root: Path) -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \|", (root / "docs" / "adr" / "README.md").read_text(), re.MULTILINE)
    files = [path.name for path in decisions(root)]
    assert [name for _, name in rows] == files
    assert [number for number, _ in rows] == [name[:4] for name in files]
    assert len({name[:4] for name in files}) == len(files)


def test_decisions_have_their_parts(root: Path) -> None:
    lacking = {}
    for path in decisions(root):
        text = path.read_text()
        headings = [heading for heading in HEADING.findall(text) if heading in ADR_HEADINGS]
        if headings != ADR_HEADINGS or not text.startswith(f"# {path.name[:4]}: ") or "\nState: " not in text:
            lacking[path.name] = headings
    assert lacking == {}, "\n".join(map(str, lacking.items()))


def test_anchor_rule() -> None:
    page = Path(__file__).parents[2] / "docs" / "threat-model.md"
    assert "a-peer-against-a-node" in anchors(page)
