"""What does the escrow hold of a committed deal, and what must each later call bring along?

``MeshEscrow`` stores one word per deal: state, since when, and 208 bits of the hash of its ``Lock``. Whoever ends the
deal passes the Lock again. The parties know every field but the owners; a stranger has them all from ``DealCommitted``.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocols.deals.eip712 import Deal, Domain, deal_id
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Seconds, Tokens, UnixSeconds

__all__ = ["COMMITTED_TOPIC", "Lock"]

COMMITTED_TOPIC: Final = keccak256(
    b"DealCommitted(bytes32,address,address,bytes32,address,address,uint256,uint256,uint256,uint256)"
)
"""First topic of the log that carries a Lock."""

_WORD: Final = 32
_DATA_WORDS: Final = 7


class Lock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``MeshEscrow.Lock``. Owners are those that stood behind the operators when the deal was committed."""

    deal_id: DealId
    client: Address
    provider: Address
    client_owner: Address
    provider_owner: Address
    run_nonce: int
    index: int
    price: Tokens
    collateral: Tokens
    claim_within: Seconds
    """From the commit to the claim deadline: execution and claim time together."""
    window_seconds: Seconds

    @classmethod
    def of(cls, domain: Domain, deal: Deal, *, client_owner: Address, provider_owner: Address) -> "Lock":
        """The Lock of a deal that is committed while these two owners stand behind its operators."""
        return cls(
            deal_id=deal_id(domain, deal),
            client=deal.client,
            provider=deal.provider,
            client_owner=client_owner,
            provider_owner=provider_owner,
            run_nonce=deal.run_nonce,
            index=deal.index,
            price=deal.price,
            collateral=deal.collateral,
            claim_within=Seconds(deal.exec_seconds + deal.claim_seconds),
            window_seconds=deal.window_seconds,
        )

    @classmethod
    def asking(
        cls, client: Address, provider: Address, *, client_owner: Address, provider_owner: Address, price: Tokens
    ) -> "Lock":
        """No deal's, but enough for the question how many seats could judge one between these two."""
        return cls(
            deal_id=DealId(bytes(_WORD)),
            client=client,
            provider=provider,
            client_owner=client_owner,
            provider_owner=provider_owner,
            run_nonce=0,
            index=0,
            price=price,
            collateral=Tokens(0),
            claim_within=Seconds(0),
            window_seconds=Seconds(0),
        )

    @classmethod
    def from_log(cls, topics: Sequence[bytes], data: bytes) -> "Lock":
        """The Lock that a ``DealCommitted`` log carries.

        Raises RemoteProtocolError(code="malformed"): the chain endpoint sent something else.
        """
        if len(topics) != 4 or topics[0] != COMMITTED_TOPIC or len(data) != _DATA_WORDS * _WORD:
            raise RemoteProtocolError("not a DealCommitted log; is this endpoint on the right chain?", code="malformed")
        words = [data[at : at + _WORD] for at in range(0, len(data), _WORD)]
        run, client_owner, provider_owner = words[:3]
        price, collateral, claim_within, window = (int.from_bytes(word) for word in words[3:])
        return cls(
            deal_id=DealId(bytes(topics[1])),
            client=Address(bytes(topics[2][12:])),
            provider=Address(bytes(topics[3][12:])),
            client_owner=Address(client_owner[12:]),
            provider_owner=Address(provider_owner[12:]),
            run_nonce=int.from_bytes(run[20:28]),
            index=int.from_bytes(run[28:]),
            price=Tokens(price),
            collateral=Tokens(collateral),
            claim_within=Seconds(claim_within),
            window_seconds=Seconds(window),
        )

    def words(self) -> bytes:
        """The Lock as calldata: 9 words, 288 bytes."""
        pad = bytes(12)
        run = self.client + self.run_nonce.to_bytes(8) + self.index.to_bytes(4)
        addresses = pad + self.client_owner + pad + self.provider_owner
        numbers = (self.price, self.collateral, self.claim_within, self.window_seconds)
        return self.deal_id + pad + self.provider + run + addresses + b"".join(n.to_bytes(_WORD) for n in numbers)

    def identity(self, result_hash: Hash32 = ZERO_HASH) -> bytes:
        """The 26 bytes by which the deal's slot knows this Lock; after a claim, together with its result hash."""
        whole = keccak256(self.words())
        return (whole if result_hash == ZERO_HASH else keccak256(whole, result_hash))[:26]

    def claim_by(self, committed_at: UnixSeconds) -> UnixSeconds:
        """The last block time at which ``claim`` succeeds; ``expire`` succeeds from one second later."""
        return UnixSeconds(committed_at + self.claim_within)

    def window_ends(self, claimed_at: UnixSeconds) -> UnixSeconds:
        """The last block time of the window; ``finalize`` succeeds from one second later."""
        return UnixSeconds(claimed_at + self.window_seconds)
