"""How do simulated nodes sign? With a keyed hash that only the world can check: as unforgeable as a curve there, 20 times faster.

Keys are real secp256k1 keys, so that PeerIds and operator addresses are; only the signatures are not.
"""

import hashlib
from typing import Final

import coincurve

from protocols.errors import RemoteProtocolError
from protocols.hashing import sha256
from protocols.signing import SIGNATURE_BYTES, address_of_key, peer_id_of_key
from protocols.units import Address, Hash32, PeerId, Signature

__all__ = ["KeyRing", "SimSigner"]

_PADDING: Final = b"\x1b" * (SIGNATURE_BYTES - 32)
"""A recovery byte of 27 and a low s: what a real signature has, and what its compact form for calldata needs."""


class KeyRing:
    """Every key of a simulated world. Whoever holds it can check any signature, and nobody in the world holds it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._secrets: list[bytes] = []
        self._peers: list[PeerId] = []

    def signer(self) -> "SimSigner":
        """A new key."""
        number = len(self._secrets)
        secret = sha256(b"mesh/sim/key", self._seed.to_bytes(8, "big"), number.to_bytes(4, "big"))
        compressed = coincurve.PrivateKey(secret).public_key.format(compressed=True)
        self._secrets.append(secret)
        self._peers.append(peer_id_of_key(compressed))
        return SimSigner(self, number, self._peers[number], address_of_key(compressed))

    def sign(self, number: int, digest: Hash32) -> Signature:
        """``number(4) || keyed hash(28) || padding``, 65 bytes like a real one."""
        mac = hashlib.blake2b(digest, key=self._secrets[number], digest_size=28).digest()
        return Signature(number.to_bytes(4, "big") + mac + _PADDING)

    def recover(self, digest: Hash32, signature: bytes) -> PeerId:
        """Who signed. Raises ``RemoteProtocolError(bad_signature)``."""
        number = int.from_bytes(signature[:4], "big")
        if len(signature) != SIGNATURE_BYTES or number >= len(self._secrets) or self.sign(number, digest) != signature:
            raise RemoteProtocolError("no key of this world signed that", code="bad_signature", penalty=50)
        return self._peers[number]

    def derive(self, number: int, label: str, parts: tuple[bytes, ...]) -> Hash32:
        """A secret of one key."""
        return sha256(self._secrets[number], label.encode(), *parts)


class SimSigner:
    """One node's key in a simulated world."""

    def __init__(self, ring: KeyRing, number: int, peer_id: PeerId, address: Address) -> None:
        self._ring = ring
        self._number = number
        self._peer_id = peer_id
        self._address = address

    @property
    def address(self) -> Address:
        """Operator address."""
        return self._address

    @property
    def peer_id(self) -> PeerId:
        """PeerId of the same key."""
        return self._peer_id

    def sign(self, digest: Hash32) -> Signature:
        """Sign for this key."""
        return self._ring.sign(self._number, digest)

    def recover(self, digest: Hash32, signature: Signature) -> PeerId:
        """Who signed."""
        return self._ring.recover(digest, signature)

    def derive(self, label: str, *parts: bytes) -> Hash32:
        """A secret only this key knows."""
        return self._ring.derive(self._number, label, parts)
