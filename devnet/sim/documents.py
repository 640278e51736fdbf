"""Which parts of the protocol's pages are written by the code? `python -m devnet.sim.documents` puts them in."""

from pathlib import Path
from typing import Final

from protocols.deals.table import markdown

__all__ = ["BEGIN", "END", "filled", "main"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "deal.md"
BEGIN: Final = "<!-- from protocols/deals/table.py -->\n"
END: Final = "<!-- end -->"


def filled(text: str) -> str:
    """The page with its generated part as the table is now. Raises ``ValueError`` when the marks are missing."""
    head, found, rest = text.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} lacks {BEGIN.strip()} or {END}")
    return head + BEGIN + markdown() + END + tail


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
