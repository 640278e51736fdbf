"""Which parts of the protocol's pages are written from the code? `python -m devnet.pages` puts them in.

The deal's page has its own (`devnet.sim.documents`).
"""

from pathlib import Path
from typing import Final

from devnet.pages.machines import GOSSIP, RUN, machine_markdown, verdicts_markdown
from devnet.pages.payloads import payloads_markdown

__all__ = ["FOLDER", "PARTS", "filled", "write_pages"]

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "protocol"
PARTS: Final = {
    "messages.md": {"payloads": payloads_markdown},
    "run.md": {"machine": lambda: machine_markdown(RUN)},
    "gossip.md": {"machine": lambda: machine_markdown(GOSSIP), "verdicts": verdicts_markdown},
}
"""Page -> name of a part -> what writes it."""
END: Final = "<!-- end -->"


def filled(page: str, text: str) -> str:
    """A page with its generated parts as the code is now. Raises ``ValueError`` when the marks of one are missing."""
    for name, write in PARTS[page].items():
        begin = f"<!-- generated: {name} -->\n"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(END)
        if not found or not closed:
            raise ValueError(f"{page} lacks {begin.strip()} or {END}")
        text = head + begin + write() + END + tail
    return text


def write_pages() -> None:
    """Write every page anew."""
    for page in PARTS:
        file = FOLDER / page
        file.write_text(filled(page, file.read_text()))
