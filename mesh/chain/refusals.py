"""What does a node mean when it declines a transaction?

JSON-RPC has no codes for it, only words, which differ between go-ethereum, nitro, anvil and this project's development
chain. The words were read in their sources.
"""

from enum import Enum, auto
from typing import Final

__all__ = ["Refusal", "classify"]


class Refusal(Enum):
    """The reasons that a submitter treats differently."""

    KNOWN = auto()
    """The node has it already."""
    NONCE_LOW = auto()
    """The nonce is used: by this very transaction, or by another."""
    NONCE_HIGH = auto()
    """An earlier one is missing."""
    UNDERPRICED = auto()
    """The node has another of that nonce that pays as much."""
    FEE_LOW = auto()
    """Below the base fee."""
    FUNDS = auto()
    """The account cannot pay."""
    REVERT = auto()
    """The call itself fails."""
    OTHER = auto()


_WORDS: Final = (
    (Refusal.KNOWN, ("already known", "known transaction", "already imported", "already in the pool")),
    (Refusal.NONCE_LOW, ("nonce too low", "nonce is too low", "old nonce")),
    (Refusal.NONCE_HIGH, ("nonce too high", "nonce is too high")),
    (Refusal.UNDERPRICED, ("replacement transaction underpriced", "could not replace")),
    (
        Refusal.FEE_LOW,
        ("less than block base fee", "fee cap less than", "transaction underpriced", "fee too low", "below base fee"),
    ),
    (Refusal.FUNDS, ("insufficient funds", "insufficient balance", "doesn't have enough funds")),
    (Refusal.REVERT, ("revert", "invalid opcode", "out of gas", "execution failed")),
)


def classify(message: str) -> Refusal:
    """The first reason whose words occur in the node's message."""
    lowered = message.lower()
    for refusal, words in _WORDS:
        if any(word in lowered for word in words):
            return refusal
    return Refusal.OTHER
