"""How do the generated pages get onto the disk? ``python -m devnet.docs docs/reference`` (`make docs`)."""

import sys
from pathlib import Path

from devnet.pages import write_pages as write_protocol_pages
from mesh.cli.reference import pages

__all__ = ["write_pages"]


def write_pages(folder: Path) -> None:
    """Write every page anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
    write_protocol_pages()
