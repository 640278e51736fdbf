"""Which bytes does a node send to the escrow? Calldata of every call about a deal, packed by hand.

All arguments are static words, so a call is its selector and those words. Calls about one's own account (deposit,
stake, withdraw ...) are few and go through the ABI of the artifact.
"""

from typing import Final

from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, ResultCommit, deal_words
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, Hash32, Signature, Tokens

__all__ = [
    "burn_run",
    "cancel",
    "claim",
    "commit",
    "compact",
    "expire",
    "finalize",
    "fund_panel",
    "poke",
    "prove_equivocation",
    "selector",
    "sendable",
    "set_operator",
    "settle",
    "signed_result",
]

_DEAL: Final = (
    "(address,address,address,uint256,uint256,bytes32,bytes32,bytes32,uint256,uint256,uint256,uint256,bytes32,bytes32,"
    "uint256,uint256,uint256,uint256,uint256,bytes32,bytes32,uint256,uint256,uint256,uint256,uint256)"
)
_LOCK: Final = "(bytes32,address,bytes32,address,address,uint256,uint256,uint256,uint256)"

_SIGNED_RESULT: Final = "(bytes32,uint256,int256,uint256,uint256,bytes32,bytes32,bytes32)"
_SIGNED_RESULT_BYTES: Final = 8 * 32


def selector(signature: str) -> bytes:
    """The first four bytes of a call's data."""
    return keccak256(signature.encode())[:4]


_COMMIT: Final = selector(f"commit({_DEAL},bytes32,bytes32)")
_SETTLE: Final = selector(f"settle({_LOCK},bytes32,uint128,bytes32,bytes32)")
_CANCEL: Final = selector(f"cancel({_LOCK},uint128,bytes32,bytes32)")
_CLAIM: Final = selector(f"claim({_LOCK},bytes32)")
_FINALIZE: Final = selector(f"finalize({_LOCK},bytes32)")
_EXPIRE: Final = selector(f"expire({_LOCK})")
_POKE: Final = selector(f"poke({_LOCK},bytes32)")
_PROVE: Final = selector(f"proveEquivocation({_LOCK},bytes32,{_SIGNED_RESULT},{_SIGNED_RESULT})")
_FUND_PANEL: Final = selector("fundPanel(uint128)")
_BURN_RUN: Final = selector("burnRun(uint64,uint32)")
_SET_OPERATOR: Final = selector("setOperator(address,bytes32,bytes32)")


def sendable(signature: bytes) -> bool:
    """Whether a signature has the form that contracts take; whose it is, and of what, is another question."""
    return len(signature) == 65 and signature[64] in (27, 28) and not signature[32] & 0x80


def compact(signature: Signature) -> bytes:
    """64 bytes, ``r`` and ``vs`` of EIP-2098: the recovery bit rides on top of s, which is low."""
    if not sendable(signature):
        raise LocalProtocolError("a signature must be 65 bytes with low s and v in {27, 28}; recover it before use")
    vs = bytearray(signature[32:64])
    vs[0] |= (signature[64] - 27) << 7
    return signature[:32] + bytes(vs)


def commit(deal: Deal, client_signature: Signature) -> bytes:
    """Lock the deal's money. Sent by the provider's operator; the client has signed the deal."""
    return _COMMIT + deal_words(deal) + compact(client_signature)


def settle(lock: Lock, paid: Tokens, client_signature: Signature, *, result_hash: Hash32 = ZERO_HASH) -> bytes:
    """Pay and end. Sent by the provider's operator; the client has signed ``Settlement(deal_id, paid)``.

    ``result_hash`` is what was claimed, or zero when nothing was.
    """
    return _SETTLE + lock.words() + result_hash + paid.to_bytes(32) + compact(client_signature)


def cancel(lock: Lock, paid: Tokens, other_signature: Signature) -> bytes:
    """End before any claim. Sent by one party; the other has signed ``Cancellation(deal_id, paid)``."""
    return _CANCEL + lock.words() + paid.to_bytes(32) + compact(other_signature)


def claim(lock: Lock, result_hash: Hash32) -> bytes:
    """The client is silent. Sent by the provider's operator; ``result_hash`` is the digest of its ResultCommit."""
    return _CLAIM + lock.words() + result_hash


def finalize(lock: Lock, result_hash: Hash32) -> bytes:
    """Pay the provider after the window. Sent by anyone."""
    return _FINALIZE + lock.words() + result_hash


def expire(lock: Lock) -> bytes:
    """Return the price, with the penalty, after the claim deadline. Sent by anyone."""
    return _EXPIRE + lock.words()


def poke(lock: Lock, result_hash: Hash32 = ZERO_HASH) -> bytes:
    """Do whatever time has made possible. Sent by anyone; ``result_hash`` as for ``settle``."""
    return _POKE + lock.words() + result_hash


def prove_equivocation(
    lock: Lock,
    first: tuple[ResultCommit, Signature],
    second: tuple[ResultCommit, Signature] | None,
    *,
    result_hash: Hash32 = ZERO_HASH,
) -> bytes:
    """The provider has bound itself to two results. Sent by anyone, while the deal is COMMITTED or CLAIMED.

    With a claim, ``result_hash`` is what was claimed and ``first`` another result; without, two signed results are needed.
    """
    if second is None and result_hash == ZERO_HASH:
        raise LocalProtocolError("one signed result contradicts nothing; pass the claimed result hash, or a second one")
    other = bytes(_SIGNED_RESULT_BYTES) if second is None else signed_result(*second)
    return _PROVE + lock.words() + result_hash + signed_result(*first) + other


def signed_result(result: ResultCommit, signature: Signature) -> bytes:
    """``SignedResult``: the ResultCommit without its deal, and the provider's signature; 8 words."""
    return result.words()[32:] + compact(signature)


def fund_panel(amount: Tokens) -> bytes:
    """Move free balance of the sender's owner to its account at the panel."""
    return _FUND_PANEL + amount.to_bytes(32)


def burn_run(run_nonce: int, index: int) -> bytes:
    """Make sure that the sender's deal can never be committed. Sent by the client's operator."""
    return _BURN_RUN + run_nonce.to_bytes(32) + index.to_bytes(32)


def set_operator(operator: Address, consent: Signature) -> bytes:
    """Let ``operator`` trade on the sender's account. It has signed an ``OperatorConsent``."""
    return _SET_OPERATOR + bytes(12) + operator + compact(consent)
