"""Which signed transactions wait to be mined?

The rules of a node's mempool that a submitter can meet: one transaction per (sender, nonce), a replacement must raise
both fees, and by a tenth (go-ethereum's ``txpool.pricebump``), a transaction below the base fee or behind a gap waits.
"""

from collections.abc import Callable
from typing import Final

from devnet.chain.evm import SignedTx

__all__ = ["MAX_POOL", "Pool"]

MAX_POOL: Final = 4096
"""Waiting transactions, of all senders (about 1 kB each)."""
_BUMP_PERCENT: Final = 110
MAX_NONCE_GAP: Final = 1024
"""How far ahead of the account a nonce may lie: an infinite future would let one sender fill the pool."""


class Pool:
    """Waiting transactions by sender and nonce. Refusals are ``ValueError`` with go-ethereum's words."""

    def __init__(self) -> None:
        self._by_sender: dict[bytes, dict[int, SignedTx]] = {}
        self._by_hash: dict[bytes, SignedTx] = {}

    def __contains__(self, tx_hash: object) -> bool:
        return tx_hash in self._by_hash

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, tx_hash: bytes) -> SignedTx | None:
        """A waiting transaction by hash."""
        return self._by_hash.get(tx_hash)

    def add(self, tx: SignedTx, account_nonce: int) -> None:
        """Admit a transaction, replacing one of the same nonce if it pays a tenth more."""
        if tx.nonce > account_nonce + MAX_NONCE_GAP:
            raise ValueError(f"nonce too high: next nonce {account_nonce}, tx nonce {tx.nonce}")
        waiting = self._by_sender.get(tx.sender, {})
        old = waiting.get(tx.nonce)
        if old is not None:
            enough_max = tx.max_fee * 100 >= old.max_fee * _BUMP_PERCENT
            enough_tip = tx.priority_fee * 100 >= old.priority_fee * _BUMP_PERCENT
            higher = tx.max_fee > old.max_fee and tx.priority_fee > old.priority_fee
            if not (enough_max and enough_tip and higher):
                raise ValueError("replacement transaction underpriced")
            self.discard(old)
        elif len(self._by_hash) >= MAX_POOL:
            raise ValueError("txpool is full")
        self._by_sender.setdefault(tx.sender, {})[tx.nonce] = tx
        self._by_hash[tx.hash] = tx

    def discard(self, tx: SignedTx) -> None:
        """Drop one transaction if it is here."""
        if self._by_hash.pop(tx.hash, None) is None:
            return
        waiting = self._by_sender[tx.sender]
        del waiting[tx.nonce]
        if not waiting:
            del self._by_sender[tx.sender]

    def forget_below(self, sender: bytes, nonce: int) -> None:
        """Drop what can never be mined because the account has moved past it."""
        for tx in [tx for tx in self._by_sender.get(sender, {}).values() if tx.nonce < nonce]:
            self.discard(tx)

    def clear(self) -> None:
        """Drop everything."""
        self._by_sender.clear()
        self._by_hash.clear()

    def next_nonce(self, sender: bytes, account_nonce: int) -> int:
        """The first nonce without a waiting transaction."""
        waiting = self._by_sender.get(sender, {})
        nonce = account_nonce
        while nonce in waiting:
            nonce += 1
        return nonce

    def ready(self, base_fee: int, account_nonce: Callable[[bytes], int]) -> list[SignedTx]:
        """Every transaction that could be mined now: per sender in nonce order, stopping at a gap or a fee too low."""
        found: list[SignedTx] = []
        for sender, waiting in self._by_sender.items():
            nonce = account_nonce(sender)
            while (tx := waiting.get(nonce)) is not None and tx.max_fee >= base_fee:
                found.append(tx)
                nonce += 1
        return found
