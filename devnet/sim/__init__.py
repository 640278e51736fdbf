"""A whole network under a virtual clock: links, faults, invariants."""
