"""What is hashed into a fingerprint, and how? Every byte of an output, in one order, under the key of one seat.

One pass over the bytes makes the fingerprints of any number of seats: whoever compares holds the output once, and there are
ten others. A hash of the bytes that had no key would be worth as much as the bytes, so there is none in between.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from protocols.deals.terms import Level, OutcomeCode
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import Hash32

__all__ = ["MAX_MARKS", "Ending", "Entry", "ending_at", "fingerprints_of", "framed"]

MAX_MARKS: Final = 128
"""Keys in one pass: an operator that held every place of both panels, and all who replaced it, would have forty."""
_FILE: Final = b"f"
_FOLDER: Final = b"d"
_LENGTH_BYTES: Final = 8


class Ending:
    """How an execution ended, apart from its bytes: part of what must be equal."""

    def __init__(self, outcome: OutcomeCode, exit_code: int, fuel: int) -> None:
        """``fuel``: 0 where the level does not compare it."""
        self.outcome = outcome
        self.packed = bytes([outcome]) + exit_code.to_bytes(4, signed=True) + fuel.to_bytes(8)


def ending_at(level: Level, outcome: int, exit_code: int, fuel: int) -> Ending:
    """An ending as this level compares it: how much fuel was used counts at `exact` alone."""
    return Ending(OutcomeCode(outcome), exit_code, fuel if level is Level.EXACT else 0)


class Entry(NamedTuple):
    """A file of an output, or a folder."""

    path: str
    """Below the outcome folder, with ``/``."""
    size: int
    """Of its content; -1 for a folder."""
    content: Iterable[bytes] = ()
    """In pieces of any length: the same bytes give the same fingerprint."""


def framed(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bytes that stand for these entries, and for no others: each with its kind, the lengths of its name and content.

    ``entries`` in ascending order of their paths' bytes; modes and times count nowhere, because a tree names none. Raises
    ``LocalProtocolError`` for another order, or content of another length than said.
    """
    last = b""
    for entry in entries:
        path = entry.path.encode()
        if path <= last:
            raise LocalProtocolError("the files of an output are not in the order of their paths")
        last = path
        yield (_FOLDER if entry.size < 0 else _FILE) + len(path).to_bytes(_LENGTH_BYTES) + path
        if entry.size < 0:
            continue
        yield entry.size.to_bytes(_LENGTH_BYTES)
        left = entry.size
        for piece in entry.content:
            left -= len(piece)
            yield piece
        if left:
            raise LocalProtocolError(f"{entry.path} has another length than its folder says")


def fingerprints_of(keys: Sequence[Hash32], ending: Ending, pieces: Iterable[bytes]) -> tuple[Hash32, ...]:
    """keccak256(key, sha256(key, ending, bytes)) for each key, in one pass.

    SHA-256 because processors have it built in: ten times what Keccak takes in. ``pieces``: see `framed`.
    """
    if len(keys) > MAX_MARKS:
        raise LocalProtocolError(f"{len(keys)} fingerprints of one output, at most {MAX_MARKS} are made at once")
    digests = [hashlib.sha256(key + ending.packed) for key in keys]
    for piece in pieces:
        for digest in digests:
            digest.update(piece)
    return tuple(keccak256(key, digest.digest()) for key, digest in zip(keys, digests, strict=True))
