"""Who decides when a client says that a result is wrong? Drawn mediators who work blind, by the rules in this package.

``machine`` moves one dispute, ``panel`` keeps the books of a whole ``MediatorPanel``; the contract does the same.
"""

__all__: list[str] = []
