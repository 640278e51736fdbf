"""How does a channel's root grow without keeping every DealId? By its peaks: at most one hash per power of two.

The tree is the contract's (`protocols.contracts.channels.deals_root`, as in RFC 6962): a tree of n leaves is full trees of
falling size, and its root folds their roots from the right.
"""

import msgspec

from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, DealId, Hash32

__all__ = ["Frontier"]


class Frontier(msgspec.Struct, frozen=True, array_like=True):
    """All deals paid so far, as far as their root depends on them: ``count``, and the full trees' roots, largest first."""

    count: int = 0
    peaks: tuple[Hash32, ...] = ()

    def append(self, deal_id: DealId) -> "Frontier":
        """One more deal paid."""
        peaks, node, size = list(self.peaks), keccak256(b"\x00", deal_id), self.count
        while size & 1:
            node = keccak256(b"\x01", peaks.pop(), node)
            size >>= 1
        return Frontier(self.count + 1, (*peaks, node))

    @property
    def root(self) -> Hash32:
        """``deals_root`` of all of them; zero for none."""
        if not self.peaks:
            return ZERO_HASH
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = keccak256(b"\x01", peak, root)
        return root
