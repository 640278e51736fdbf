"""How does a stranger's job run here, and what may it touch?  ``executor.py`` is the seam; a folder per kind."""
