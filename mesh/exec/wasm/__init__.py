"""How does a WebAssembly job run?  ``executor.py`` in the node, ``zygote.py`` and ``wasi/`` in its child processes.

Kept free of imports: the zygote loads this package with an empty environment and must stay small.
"""
