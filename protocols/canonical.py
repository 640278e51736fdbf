"""How does a value become bytes, so that two honest parties never disagree about them?

One encoding: msgpack of frozen structs with fixed field order (``array_like``), integers, bytes, text, tuples and
structs only. ``decode_strict`` decodes, re-encodes and compares, so a value has exactly one form on the wire:
non-minimal integers, trailing bytes, unknown fields and NaN-like tricks do not survive it.
"""

from typing import Any, Final, TypeVar

import msgpack
import msgspec

from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Hash32, Tokens

__all__ = ["MAX_DEPTH_ITEMS", "content_id", "decode_strict", "encode", "tagged_digest"]

T = TypeVar("T")

MAX_DEPTH_ITEMS: Final = 8192
"""Items in any one array or map of a message from a peer: the largest legal one is a sync digest of 4,096 offers."""

AMOUNT_BYTES: Final = 32

_trusted: Final = int.__new__
"""32 bytes cannot hold an amount out of range: ``Tokens`` need not look again."""


def _to_wire(value: object) -> bytes:
    if isinstance(value, Tokens):
        return value.to_bytes(AMOUNT_BYTES, "big")
    raise NotImplementedError(f"{type(value).__name__} has no canonical form")


def _from_wire(kind: type, value: object) -> object:
    if kind is Tokens and isinstance(value, bytes) and len(value) == AMOUNT_BYTES:
        return _trusted(Tokens, int.from_bytes(value, "big"))
    raise ValueError(f"expected {AMOUNT_BYTES} bytes for an amount")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_to_wire)


_DECODERS: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {}


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """One decoder per type: building one costs 100 times a decode. The types of the protocol bound the map."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_from_wire)
    return decoder


def encode(value: msgspec.Struct) -> bytes:
    """The canonical bytes of a struct. Raises ``NotImplementedError`` for a type that has none."""
    return _ENCODER.encode(value)


def decode_strict(kind: type[T], data: bytes, *, max_bytes: int) -> T:
    """The struct of type ``kind`` that ``data`` is the canonical form of.

    Raises ``RemoteProtocolError``: ``too_large`` past ``max_bytes``, ``malformed`` when it does not parse,
    ``not_canonical`` when it parses but is not the one form of its value.
    """
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"{len(data)} bytes, at most {max_bytes} allowed", code="too_large")
    try:
        msgpack.unpackb(
            data,
            raw=True,
            strict_map_key=False,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
            max_array_len=MAX_DEPTH_ITEMS,
            max_map_len=MAX_DEPTH_ITEMS,
            max_ext_len=0,
        )
        value: T = _decoder(kind).decode(data)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        # msgspec.ValidationError, msgpack.ExtraData and msgpack.FormatError are all ValueError; a map whose key is a
        # map or an array is a TypeError.
        raise RemoteProtocolError(f"not a {kind.__name__}: {error}", code="malformed") from error
    if _ENCODER.encode(value) != data:
        raise RemoteProtocolError(f"{kind.__name__} is not in canonical form", code="not_canonical")
    return value


def tagged_digest(domain: str, *parts: bytes) -> Hash32:
    """Keccak-256 under a domain: every part is length-prefixed, so no two lists of parts collide.

    The first byte is 0x4d ("M"), never 0x19, so no such digest is ever an EIP-191 or EIP-712 one.
    """
    chunks = [b"MESH/", domain.encode(), b"\x00"]
    for part in parts:
        chunks += (len(part).to_bytes(8, "big"), part)
    return keccak256(*chunks)


def content_id(domain: str, value: msgspec.Struct) -> Hash32:
    """The identity of a struct: its canonical bytes, hashed under a domain."""
    return tagged_digest(domain, encode(value))
