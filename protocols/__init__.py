"""The rules of the mesh: deterministic, without I/O, clock or randomness."""
