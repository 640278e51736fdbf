"""What is in every payload? Its fields, units and bounds, read from the types that decode it."""

from typing import Any, Final, NewType, get_args, get_type_hints

import msgspec
from msgspec import inspect

from protocols.limits import MAX_GOSSIP_BYTES, MAX_MESSAGE_BYTES
from protocols.messages.beacon import BEACON_PROTOCOL, MAX_ROUND_BYTES, BeaconRound
from protocols.messages.dispute import CASE_TAG, CaseNotice
from protocols.messages.registry import LOGS_PROTOCOL, MESSAGE_TYPES, protocol_of
from protocols.messages.transfer import LogPart, LogPull
from protocols.offers.records import JOB_OFFER_TAG, OFFER_TAG, WITHDRAWN_TAG, JobOffer, OfferWithdrawn, ResourceOffer
from protocols.offers.sync import SYNC_PROTOCOL, SyncPage, SyncRequest
from protocols.units import Tokens

__all__ = ["payloads_markdown", "structs"]

GOSSIP: Final[dict[str, type[msgspec.Struct]]] = {
    OFFER_TAG: ResourceOffer,
    JOB_OFFER_TAG: JobOffer,
    WITHDRAWN_TAG: OfferWithdrawn,
    CASE_TAG: CaseNotice,
}
CALLS: Final[dict[str, tuple[type[msgspec.Struct], ...]]] = {
    LOGS_PROTOCOL: (LogPull, LogPart),
    SYNC_PROTOCOL: (SyncRequest, SyncPage),
}
_UNITS: Final = {
    "Seconds": "s",
    "UnixSeconds": "Unix s",
    "Millis": "ms",
    "Mebibytes": "MiB",
    "Tokens": "wei",
    "Address": "Ethereum address",
    "Cid": "CIDv1",
    "PeerId": "PeerId",
    "Signature": "r, s, v",
    "Hash32": "digest",
    "DealId": "digest",
    "JobId": "digest",
    "RunId": "digest",
}
_SUFFIXES: Final = {
    "_ms": "ms",
    "_seconds": "s",
    "size": "bytes",
    "_s": "s",
    "_mib": "MiB",
    "_ppm": "millionths",
    "_milli": "thousandths",
    "_tenths": "tenths",
}


def structs() -> list[type[msgspec.Struct]]:
    """Every payload, and every struct inside one, each once."""
    found: list[type[msgspec.Struct]] = []
    for head in _heads():
        _collect(head, found)
    return found


def _heads() -> list[type[msgspec.Struct]]:
    calls = (one for pair in CALLS.values() for one in pair)
    return [*MESSAGE_TYPES.values(), *GOSSIP.values(), *calls, BeaconRound]


def _collect(struct: type[msgspec.Struct], found: list[type[msgspec.Struct]]) -> None:
    if struct in found:
        return
    found.append(struct)
    shape = inspect.type_info(struct)
    assert isinstance(shape, inspect.StructType)
    for field in shape.fields:
        _inside(field.type, found)


def _inside(kind: inspect.Type, found: list[type[msgspec.Struct]]) -> None:
    match kind:
        case inspect.StructType(cls=inner):
            _collect(inner, found)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            _inside(item, found)
        case inspect.TupleType(item_types=items) | inspect.UnionType(types=items):
            for item in items:
                _inside(item, found)
        case _:
            return


def payloads_markdown() -> str:
    """One section for each kind of traffic, one table for each payload."""
    parts = [f"## Messages\n\nIn an envelope on a stream, at most {MAX_MESSAGE_BYTES} bytes."]
    parts += [_section(f"{tag}", one, f"on `{protocol_of(tag)}`") for tag, one in MESSAGE_TYPES.items()]
    parts.append(f"## Gossip\n\nIn an envelope on a topic, at most {MAX_GOSSIP_BYTES} bytes.")
    parts += [_section(tag, one, "") for tag, one in GOSSIP.items()]
    parts.append("## Calls\n\nWithout an envelope: the connection has said who asks.")
    parts += [_section(one.__name__, one, f"on `{name}`") for name, pair in CALLS.items() for one in pair]
    beacon = f"at most {MAX_ROUND_BYTES} bytes; as gossip, and on `{BEACON_PROTOCOL}`"
    parts.append(_section("BeaconRound", BeaconRound, beacon))
    parts.append("## Inside others")
    parts += [_section(one.__name__, one, "") for one in structs() if one not in _heads()]
    return "\n\n".join(parts) + "\n"


def _section(title: str, struct: type[msgspec.Struct], where: str) -> str:
    about = (struct.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    about = " ".join(about.split()).replace("``", "`")
    lines = [f"### {title}", "", f"{about}{f' Travels {where}.' if where else ''}", ""]
    lines += ["| field | type | bounds | unit |", "|---|---|---|---|"]
    shape = inspect.type_info(struct)
    assert isinstance(shape, inspect.StructType)
    hints = get_type_hints(struct, include_extras=True)
    for field in shape.fields:
        kind, bounds = _described(field.type)
        lines.append(f"| {field.name} | {kind} | {bounds} | {_unit(field.name, hints[field.name])} |")
    return "\n".join(lines)


def _described(kind: inspect.Type) -> tuple[str, str]:
    """A type in words, and its bounds."""
    match kind:
        case inspect.BytesType(min_length=least, max_length=most):
            return "bytes", _length(least, most, "bytes")
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            return "text", f"`{pattern}`".replace("|", "\\|") if pattern else _length(least, most, "characters")
        case inspect.IntType():
            return "integer", _range(kind)
        case inspect.BoolType():
            return "true or false", ""
        case inspect.StructType(cls=inner):
            return f"[{inner.__name__}](#{inner.__name__.lower()})", ""
        case inspect.EnumType(cls=values):
            return "integer", ", ".join(f"{one.value} {one.name.lower()}" for one in values)
        case inspect.LiteralType(values=words):
            return "text", ", ".join(f"`{one}`" for one in words)
        case inspect.CustomType(cls=custom) if custom is Tokens:
            return "32 bytes, big-endian", "0 to 2^256 - 1"
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            inner_kind, inner_bounds = _described(item)
            of = f"{inner_kind} ({inner_bounds})" if inner_bounds else inner_kind
            return f"list of {of}", _length(least, most, "entries")
        case inspect.TupleType(item_types=items):
            return "pair of " + " and ".join(" ".join(_described(one)).strip() for one in items), ""
        case inspect.UnionType(types=(one, inspect.NoneType())):
            inner_kind, inner_bounds = _described(one)
            return f"{inner_kind}, or nothing", inner_bounds
        case _:
            raise TypeError(f"a payload holds a {type(kind).__name__}, which this page cannot describe")


def _length(least: int | None, most: int | None, of: str) -> str:
    if least is not None and least == most:
        return f"{least} {of}"
    if most is None:
        return ""
    return f"{least} to {most} {of}" if least else f"at most {most} {of}"


def _range(kind: inspect.IntType) -> str:
    low, high = kind.ge, kind.le
    if kind.lt is not None:
        high = kind.lt - 1
    if low is None and high is None:
        return "64 bits"
    return f"{low if low is not None else ''} to {_power(high)}"


def _power(bound: int | None) -> str:
    if bound is None:
        return "2^64 - 1"
    if bound.bit_length() > 20:
        return f"2^{bound.bit_length()} - 1" if bound & (bound + 1) == 0 else f"2^{bound.bit_length() - 1}"
    return str(bound)


def _unit(name: str, hint: Any) -> str:
    """From the value's type where it has one, else from the field's name."""
    base = hint
    while get_args(base) and not isinstance(base, type):
        base = get_args(base)[0]
    named = getattr(base, "__name__", "")
    if isinstance(base, NewType) or base is Tokens:
        return _UNITS.get(named, "")
    return next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), "")
