"""What does a terminal look like on a page? `mesh devnet demo 2>&1 | python -m devnet.picture docs/demo.svg`.

Text in, one self-contained SVG out: no fonts, scripts or addresses from elsewhere.
"""

import sys
from html import escape
from pathlib import Path
from typing import Final

__all__ = ["picture"]

MAX_LINES: Final = 200
MAX_COLUMNS: Final = 160
LINE_PX: Final = 17
CHAR_PX: Final = 7.85
PAD_PX: Final = 18
BACK: Final = "#101418"
FORE: Final = "#d8dee4"
DIM: Final = "#8b98a5"
GOOD: Final = "#7ee2a8"
_STYLE: Final = "font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre"


def _colour(line: str) -> str:
    if line.startswith("$ "):
        return GOOD
    if line.split(" ", 1)[0] in ("PROVIDER", "BALANCE", "SECONDS"):
        return DIM
    return FORE


def picture(lines: list[str]) -> str:
    """The SVG of these lines."""
    shown = [line.rstrip()[:MAX_COLUMNS] for line in lines[:MAX_LINES]]
    width = int(max((len(line) for line in shown), default=1) * CHAR_PX + 2 * PAD_PX)
    height = len(shown) * LINE_PX + 2 * PAD_PX
    rows = [
        f'<text x="{PAD_PX}" y="{PAD_PX + (number + 1) * LINE_PX - 4}" fill="{_colour(line)}">{escape(line)}</text>'
        for number, line in enumerate(shown)
        if line
    ]
    size = f'viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" {size} role="img" aria-label="make demo">'
    back = f'<rect width="{width}" height="{height}" rx="8" fill="{BACK}"/>'
    return "\n".join([head, f"<style>text {{ {_STYLE} }}</style>", back, *rows, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(sys.stdin.read().splitlines()))
