"""How does a client read the logs of a job that still runs? By pulling, so that a slow reader slows nobody else.

Answered only to the deal's client; the link has authenticated who asks. After the job the logs are part of its result.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocols.units import DealId

__all__ = ["MAX_LOG_PART", "LogPart", "LogPull"]

MAX_LOG_PART: Final = 60 * 1024
"""Bytes of log in one answer: fits one message with its headers."""


class LogPull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The bytes of one stream from ``offset`` on."""

    deal_id: Annotated[DealId, Meta(min_length=32, max_length=32)]
    stream: Literal["stdout", "stderr"]
    offset: Annotated[int, Meta(ge=0, le=1 << 40)]


class LogPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was there; empty when there is nothing new. ``live`` is False once the job no longer runs here."""

    data: bytes
    live: bool
