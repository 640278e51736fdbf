"""How does a message prove who wrote it, and for which network?

A signed envelope around payload bytes. The signature covers ``network || type || payload``, so a record cannot be
replayed on another network or read as another type, and nothing is ever re-serialised to check it.
"""

from typing import Final

import msgspec

from protocols.canonical import decode_strict, encode, tagged_digest
from protocols.errors import RemoteProtocolError
from protocols.signing import PEER_ID_BYTES, SIGNATURE_BYTES, Signer, require_signed_by
from protocols.units import Hash32, PeerId, Signature

__all__ = ["ENVELOPE_OVERHEAD", "Envelope", "envelope_digest", "open_", "parse_envelope", "seal"]

ENVELOPE_OVERHEAD: Final = 160
"""Bytes an envelope adds to its payload at most: type (40), signer (39 + 2), signature (65 + 2), headers."""


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A signed message. ``type`` is ``name/version``; ``payload`` are the canonical bytes of that type's struct."""

    type: str
    payload: bytes
    signer: PeerId
    signature: Signature


def envelope_digest(network: str, kind: str, payload: bytes) -> Hash32:
    """What an envelope's signer signs."""
    return tagged_digest("envelope/1", network.encode(), kind.encode(), payload)


def seal(signer: Signer, network: str, kind: str, payload: bytes) -> bytes:
    """The bytes of a signed envelope."""
    signature = signer.sign(envelope_digest(network, kind, payload))
    return encode(Envelope(type=kind, payload=payload, signer=signer.peer_id, signature=signature))


def parse_envelope(data: bytes, *, max_bytes: int) -> Envelope:
    """The envelope in ``data``, its signature not yet checked: for cheap checks first. Raises ``RemoteProtocolError``."""
    envelope = decode_strict(Envelope, data, max_bytes=max_bytes)
    if len(envelope.type) > 40 or len(envelope.signer) != PEER_ID_BYTES or len(envelope.signature) != SIGNATURE_BYTES:
        raise RemoteProtocolError("an envelope's type, signer or signature has the wrong size", code="malformed")
    return envelope


def open_(signer: Signer, network: str, envelope: Envelope) -> PeerId:
    """Check the signature; returns who signed. Raises ``RemoteProtocolError(bad_signature)``."""
    digest = envelope_digest(network, envelope.type, envelope.payload)
    require_signed_by(signer, envelope.signer, digest, envelope.signature)
    return envelope.signer
