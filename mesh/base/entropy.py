"""Where does randomness come from? The only module that asks the machine; it reaches the core as ``EntropyDrawn``."""

import hashlib
import os
from typing import Final, Protocol

__all__ = ["MAX_DRAW_BYTES", "Entropy", "SeededEntropy", "SystemEntropy"]

MAX_DRAW_BYTES: Final = 1 << 16
"""Bytes per draw: nonces, salts and samples take at most a few hundred; more is a mistake in units."""


class Entropy(Protocol):
    """A source of unpredictable bytes."""

    def bytes(self, n: int) -> bytes:
        """``n`` bytes, 0 <= n <= 65,536. Raises ``ValueError`` otherwise."""
        ...


class SystemEntropy:
    """The kernel's generator."""

    def bytes(self, n: int) -> bytes:
        """See ``Entropy``."""
        return os.urandom(_checked(n))


class SeededEntropy:
    """The same bytes for the same seed and the same sequence of draws, on every machine: for the simulator and tests.

    SHA-256 in counter mode over ``seed || label``. Never a source of keys.
    """

    def __init__(self, seed: int, label: str = "") -> None:
        self._root = hashlib.sha256(f"mesh/seeded-entropy/1:{seed}:{label}".encode()).digest()
        self._draws = 0

    def bytes(self, n: int) -> bytes:
        """See ``Entropy``."""
        _checked(n)
        draw = self._root + self._draws.to_bytes(8, "big")
        self._draws += 1
        blocks = (hashlib.sha256(draw + i.to_bytes(8, "big")).digest() for i in range((n + 31) // 32))
        return b"".join(blocks)[:n]


def _checked(n: int) -> int:
    if not 0 <= n <= MAX_DRAW_BYTES:
        raise ValueError(f"draw between 0 and {MAX_DRAW_BYTES} bytes, got {n}")
    return n
