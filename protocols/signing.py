"""Who signed this? One secp256k1 key is a node's PeerId and its operator address at once.

Source: libp2p peer-id specification (identity multihash of a protobuf-wrapped compressed key), EIP-191/EIP-712.
"""

from functools import lru_cache
from typing import Final, Protocol

import coincurve

from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, PeerId, Signature

__all__ = [
    "PEER_ID_BYTES",
    "SIGNATURE_BYTES",
    "Signer",
    "address_of_key",
    "address_of_peer",
    "peer_id_of_key",
    "recover_key",
    "require_signed_by",
]

_PEER_ID_PREFIX: Final = bytes.fromhex("002508021221")
PEER_ID_BYTES: Final = len(_PEER_ID_PREFIX) + 33
SIGNATURE_BYTES: Final = 65
KNOWN_PEERS: Final = 4_096
"""Peers whose address is remembered: decompressing a point takes 20 times as long as looking it up."""
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class Signer(Protocol):
    """A node's key behind a seam: the real one signs with secp256k1, the simulator's is fast and just as unforgeable there."""

    @property
    def address(self) -> Address: ...

    @property
    def peer_id(self) -> PeerId: ...

    def sign(self, digest: Hash32) -> Signature:
        """A 65-byte recoverable signature; deterministic (RFC 6979)."""
        ...

    def recover(self, digest: Hash32, signature: Signature) -> PeerId:
        """Whose signature of ``digest`` this is. Raises ``RemoteProtocolError(bad_signature)``."""
        ...

    def derive(self, label: str, *parts: bytes) -> Hash32:
        """A secret that only this key can compute, the same after a restart: deal secrets, salts."""
        ...


def peer_id_of_key(compressed: bytes) -> PeerId:
    """PeerId of a compressed secp256k1 public key (33 bytes)."""
    if len(compressed) != 33:
        raise ValueError(f"a compressed key has 33 bytes, got {len(compressed)}")
    return PeerId(_PEER_ID_PREFIX + compressed)


def address_of_key(compressed: bytes) -> Address:
    """Ethereum address of a compressed secp256k1 public key (33 bytes)."""
    return Address(keccak256(coincurve.PublicKey(compressed).format(compressed=False)[1:])[12:])


@lru_cache(maxsize=KNOWN_PEERS)
def address_of_peer(peer: PeerId) -> Address:
    """Operator address of a node. Raises ``RemoteProtocolError(bad_peer_id)`` for any PeerId that is not secp256k1."""
    if len(peer) != PEER_ID_BYTES or not peer.startswith(_PEER_ID_PREFIX):
        raise RemoteProtocolError("a PeerId must be that of a secp256k1 key", code="bad_peer_id")
    try:
        return address_of_key(peer[len(_PEER_ID_PREFIX) :])
    except ValueError as error:
        raise RemoteProtocolError("the key in a PeerId is not on the curve", code="bad_peer_id") from error


def recover_key(digest: Hash32, signature: bytes) -> bytes:
    """The compressed public key that signed ``digest``.

    Raises ``RemoteProtocolError(bad_signature)`` for a wrong length, a recovery id outside {27, 28}, a high s
    (malleable, EIP-2) or a point that does not exist.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise RemoteProtocolError("a signature has 65 bytes and ends in 27 or 28", code="bad_signature", penalty=50)
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise RemoteProtocolError("the signature is malleable (high s)", code="bad_signature", penalty=50)
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception as error:  # coincurve raises bare Exception for a point that does not exist
        raise RemoteProtocolError("the signature recovers to no key", code="bad_signature", penalty=50) from error
    return key.format(compressed=True)


def require_signed_by(signer: Signer, who: PeerId, digest: Hash32, signature: Signature) -> None:
    """Raises ``RemoteProtocolError(bad_signature)`` unless ``who`` signed ``digest``."""
    if signer.recover(digest, signature) != who:
        raise RemoteProtocolError("signed by another key than it claims", code="bad_signature", penalty=50)
