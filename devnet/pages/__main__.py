"""How do the generated parts get into the pages? ``python -m devnet.pages``."""

from devnet.pages import write_pages

write_pages()
