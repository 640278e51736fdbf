"""How does a result change hands between strangers? Sealed bytes first, then the voucher, then the key.

Key and salt are derived from the provider's own key and the deal's id: it can release them again at any time, also after a
restart and for a deal that it has long forgotten. The root stays hidden with the salt until then: a result that can be
guessed could else be confirmed unpaid.
"""

from typing import Final

from protocols.canonical import tagged_digest
from protocols.deals import eip712
from protocols.messages.deal import KeyRelease, ResultNotice, SealedNotice
from protocols.signing import Signer
from protocols.units import Cid, DealId, Hash32

__all__ = ["KEYLESS", "key_hash", "key_of", "promise_of", "release_of", "seal_notice"]

KEYLESS: Final = "keyless"
"""How a deal ends that was paid for and whose key never came, or opened something else: `Settled.how`."""


def key_of(signer: Signer, deal_id: DealId) -> Hash32:
    """What a provider seals this deal's result under."""
    return signer.derive("result-key", deal_id)


def key_hash(key: Hash32) -> Hash32:
    """What a provider promises of a key before it shows it."""
    return tagged_digest("result-key/1", key)


def promise_of(domain: eip712.Domain, notice: SealedNotice) -> Hash32:
    """What a provider signs with a sealed result: these bytes, opened by that key, are what it has committed to."""
    size = notice.size.to_bytes(8, "big")
    return tagged_digest("sealed/1", eip712.digest(domain, notice.commit), notice.root, size, notice.key_hash)


def seal_notice(signer: Signer, domain: eip712.Domain, result: ResultNotice, root: Cid, size: int) -> SealedNotice:
    """What a client is told of ``result`` before it has paid. ``root`` and ``size`` (bytes) are of what is sealed."""
    hashed = key_hash(key_of(signer, result.commit.deal_id))
    unsigned = SealedNotice(
        commit=result.commit,
        signature=result.signature,
        root=root,
        size=size,
        key_hash=hashed,
        promise=result.signature,
    )
    promise = signer.sign(promise_of(domain, unsigned))
    return SealedNotice(result.commit, result.signature, root, size, hashed, promise)


def release_of(signer: Signer, deal_id: DealId) -> KeyRelease:
    """What opens a sealed result: the key of its bytes, and the salt of its commitment."""
    return KeyRelease(deal_id, key_of(signer, deal_id), signer.derive("result-salt", deal_id))
