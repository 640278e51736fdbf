"""Which calls does the socket carry, with which arguments and answers? One table for server and client."""

from pathlib import Path
from typing import Any, Final

import msgspec

from mesh.api.mediation import SeatsInfo
from mesh.api.types import (
    Added,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    DealInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    RunInfo,
    Submission,
    TxInfo,
)

__all__ = ["CALLS", "MAX_REQUEST_BYTES", "Call", "from_json", "to_json"]

MAX_REQUEST_BYTES: Final = 1 << 20
"""The largest request is a submission: a job of 32 KiB in base64."""


class Call(msgspec.Struct, frozen=True):
    """One call: argument names with their types, in order, and the type of the answer."""

    arguments: dict[str, Any]
    answer: Any


_RUN: Final = {"run": str}
_AMOUNT: Final = {"amount": str}

CALLS: Final[dict[str, Call]] = {
    "status": Call({}, NodeStatus),
    "add": Call({"path": Path}, Added),
    "export": Call({"cid": str, "destination": Path}, None),
    "submit": Call({"submission": Submission}, str),
    "quote": Call({"submission": Submission}, tuple[CandidateInfo, ...]),
    "runs": Call({}, tuple[RunInfo, ...]),
    "run": Call(_RUN, RunInfo),
    "logs": Call({"run": str, "stream": str, "offset": int}, LogInfo),
    "cancel": Call(_RUN, RunInfo),
    "retry": Call(_RUN, RunInfo),
    "deals": Call({}, tuple[DealInfo, ...]),
    "deal": Call({"deal": str}, DealInfo),
    "evidence": Call({"deal": str}, bytes),
    "offers": Call({"expression": str}, tuple[OfferInfo, ...]),
    "peers": Call({}, tuple[PeerInfo, ...]),
    "balance": Call({}, BalanceInfo),
    "deposit": Call(_AMOUNT, TxInfo),
    "withdraw": Call(_AMOUNT, TxInfo),
    "stake": Call(_AMOUNT, TxInfo),
    "unstake": Call(_AMOUNT, TxInfo),
    "channels": Call({}, tuple[ChannelInfo, ...]),
    "channel": Call({"verb": str, "peer": str, "amount": str}, None),
    "seats": Call({}, SeatsInfo),
    "join_seats": Call({"count": int, "seat_class": int}, tuple[TxInfo, ...]),
    "leave_seats": Call({"seat_class": int, "numbers": tuple[int, ...]}, tuple[TxInfo, ...]),
    "block": Call({"peer": str, "blocked": bool}, None),
    "drain": Call({"draining": bool}, None),
    "stop": Call({}, None),
}


def _out(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _in(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"expected {kind.__name__}")


def to_json(value: object) -> bytes:
    """One JSON value; bytes as base64."""
    return msgspec.json.encode(value, enc_hook=_out)


def from_json(data: bytes, kind: Any) -> Any:
    """The value of a type. Raises ``msgspec.MsgspecError``."""
    return msgspec.json.decode(data, type=kind, dec_hook=_in)
