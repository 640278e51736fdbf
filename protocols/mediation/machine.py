"""What may a seat's run take of the machine that it runs on?"""

from typing import Final

import msgspec

__all__ = ["ANY_MACHINE", "Machine"]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the node's owner gives to jobs, in MiB."""

    memory_mib: int
    """Of all runs at once."""
    disk_mib: int
    """For the outputs of all runs at once."""
    blobs_mib: int
    """For inputs and results, of all deals and cases."""


ANY_MACHINE: Final = Machine(memory_mib=1 << 30, disk_mib=1 << 30, blobs_mib=1 << 30)
"""A pebibyte of each: where nobody has looked, nothing is too large."""
