"""What do the logs of MeshEscrow say, as typed values?

One frozen struct per event, fields in the ABI's order; ``DealCommitted`` carries the deal's Lock. The table is checked
against the artifact when this module is first used, so a changed contract is found at once and not in mid-deal.
"""

from functools import cache
from typing import Any, Final

import msgspec
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from mesh.chain.wire import Log, Malformed
from protocols.contracts import artifact
from protocols.contracts.lock import Lock
from protocols.deals.terms import OnChainState
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, DealId, Hash32, Tokens, UnixSeconds

__all__ = [
    "ChannelClosed",
    "ChannelClosing",
    "ChannelFunded",
    "DealCancelled",
    "DealClaimed",
    "DealCommitted",
    "DealDisputed",
    "DealExpired",
    "DealFinalized",
    "DealSettled",
    "DealSlashed",
    "Deposited",
    "DisputeClosed",
    "EscrowEvent",
    "FeesBurned",
    "OperatorSet",
    "PanelFunded",
    "RunBurned",
    "Staked",
    "UnstakeRequested",
    "Unstaked",
    "VoucherRedeemed",
    "WithdrawRequested",
    "Withdrawn",
    "read_event",
    "topic_of",
]


class DealCommitted(msgspec.Struct, frozen=True):
    """Price and collateral are locked; deadlines run from the block's time."""

    lock: Lock


class DealClaimed(msgspec.Struct, frozen=True):
    """The provider has recorded a result; ``finalize`` is possible after ``window_ends``."""

    deal_id: DealId
    result_hash: Hash32
    window_ends: UnixSeconds


class DealSettled(msgspec.Struct, frozen=True):
    """The client consented to ``paid``, of which ``burned`` is the fee."""

    deal_id: DealId
    paid: Tokens
    burned: Tokens


class DealFinalized(msgspec.Struct, frozen=True):
    """The window passed: the provider has ``paid``, of which ``burned`` is the fee."""

    deal_id: DealId
    paid: Tokens
    burned: Tokens


class DealCancelled(msgspec.Struct, frozen=True):
    """Both ended the deal with ``paid`` to the provider, of which ``burned`` is the fee."""

    deal_id: DealId
    paid: Tokens
    burned: Tokens


class DealExpired(msgspec.Struct, frozen=True):
    """No claim in time: the price went back, and ``penalty`` out of the collateral; ``burned`` is nobody's part."""

    deal_id: DealId
    penalty: Tokens
    burned: Tokens


class RunBurned(msgspec.Struct, frozen=True):
    """The client made sure that this deal can never be committed."""

    client: Address
    run_nonce: int
    index: int


class DealDisputed(msgspec.Struct, frozen=True):
    """The panel has taken the deal, which ``was`` COMMITTED or CLAIMED; the provider is bound to ``result_hash``."""

    deal_id: DealId
    result_hash: Hash32
    was: OnChainState


class DisputeClosed(msgspec.Struct, frozen=True):
    """The panel has divided price and collateral. ``paid`` is the provider's part with the fee in it, as in ``burned``."""

    deal_id: DealId
    end: OnChainState
    to_client: Tokens
    paid: Tokens
    to_stake: Tokens
    to_panel: Tokens
    burned: Tokens


class DealSlashed(msgspec.Struct, frozen=True):
    """Two results signed by the provider: the client has its price back and ``bounty`` out of the collateral."""

    deal_id: DealId
    bounty: Tokens
    burned: Tokens


class ChannelFunded(msgspec.Struct, frozen=True):
    """``provider`` can redeem more: a channel was opened, or added to. ``ChannelWord.of(word)`` is its state now."""

    client: Address
    provider: Address
    client_owner: Address
    word: int


class VoucherRedeemed(msgspec.Struct, frozen=True):
    """``cumulative`` in all; ``deals_root`` covers all ``count`` deals of the channel."""

    channel_id: Hash32
    cumulative: Tokens
    count: int
    deals_root: Hash32


class ChannelClosing(msgspec.Struct, frozen=True):
    """The client wants its money back: anybody may close after ``until``, so redeem before."""

    channel_id: Hash32
    until: UnixSeconds


class ChannelClosed(msgspec.Struct, frozen=True):
    """``redeemed`` in all is the provider's, less the fee ``burned``; ``returned`` is the client's again."""

    channel_id: Hash32
    redeemed: Tokens
    returned: Tokens
    burned: Tokens


class PanelFunded(msgspec.Struct, frozen=True):
    """``amount`` of an owner's free balance went to its account at the panel."""

    owner: Address
    amount: Tokens


class Deposited(msgspec.Struct, frozen=True):
    """Free balance of ``owner`` grew by ``amount``, paid by ``payer``."""

    owner: Address
    payer: Address
    amount: Tokens


class Staked(msgspec.Struct, frozen=True):
    """``amount`` moved from free balance to stake."""

    owner: Address
    amount: Tokens


class WithdrawRequested(msgspec.Struct, frozen=True):
    """``total`` may be withdrawn from ``ready_at`` on."""

    owner: Address
    total: Tokens
    ready_at: UnixSeconds


class Withdrawn(msgspec.Struct, frozen=True):
    """Free balance paid out."""

    owner: Address
    amount: Tokens


class UnstakeRequested(msgspec.Struct, frozen=True):
    """``total`` of the stake may be taken out from ``ready_at`` on."""

    owner: Address
    total: Tokens
    ready_at: UnixSeconds


class Unstaked(msgspec.Struct, frozen=True):
    """Stake paid out."""

    owner: Address
    amount: Tokens


class OperatorSet(msgspec.Struct, frozen=True):
    """``operator`` trades for ``owner`` now; for itself when that is zero."""

    operator: Address
    owner: Address


class FeesBurned(msgspec.Struct, frozen=True):
    """Collected fees and penalties left the supply."""

    amount: Tokens


EscrowEvent = (
    DealCommitted
    | DealClaimed
    | DealSettled
    | DealFinalized
    | DealCancelled
    | DealExpired
    | RunBurned
    | DealDisputed
    | DisputeClosed
    | DealSlashed
    | ChannelFunded
    | VoucherRedeemed
    | ChannelClosing
    | ChannelClosed
    | PanelFunded
    | Deposited
    | Staked
    | WithdrawRequested
    | Withdrawn
    | UnstakeRequested
    | Unstaked
    | OperatorSet
    | FeesBurned
)

_KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in EscrowEvent.__args__}
_IGNORED: Final = frozenset({"EIP712DomainChanged"})


class _Layout(msgspec.Struct, frozen=True):
    kind: type[Any]
    types: tuple[str, ...]
    indexed: tuple[bool, ...]


@cache
def _layouts() -> dict[bytes, _Layout]:
    found: dict[bytes, _Layout] = {}
    for item in artifact("MeshEscrow").abi:
        if item["type"] != "event" or item["name"] in _IGNORED:
            continue
        kind = _KINDS.get(item["name"])
        types = tuple(given["type"] for given in item["inputs"])
        if kind is None or (kind is not DealCommitted and len(types) != len(kind.__struct_fields__)):
            raise LocalProtocolError(
                f"the escrow logs {item['name']}{types}, which mesh.chain.events does not describe"
            )
        topic = keccak256(f"{item['name']}({','.join(types)})".encode())
        found[topic] = _Layout(kind, types, tuple(given["indexed"] for given in item["inputs"]))
    return found


def topic_of(kind: type[EscrowEvent]) -> Hash32:
    """The first topic of an event's logs, for a ``LogQuery``."""
    return next(Hash32(topic) for topic, layout in _layouts().items() if layout.kind is kind)


def read_event(log: Log) -> EscrowEvent | None:
    """The event in a log of the escrow; None for one that is not in the table. Raises ``Malformed``."""
    layout = _layouts().get(log.topics[0]) if log.topics else None
    if layout is None:
        return None
    if layout.kind is DealCommitted:
        try:
            return DealCommitted(Lock.from_log(log.topics, log.data))
        except (RemoteProtocolError, ValueError) as error:
            raise Malformed(str(error)) from error
    topics = log.topics[1:]
    if len(topics) != sum(layout.indexed):
        raise Malformed(f"a log of {layout.kind.__name__} should have {sum(layout.indexed)} indexed fields")
    try:
        plain = iter(
            decode([kind for kind, hashed in zip(layout.types, layout.indexed, strict=True) if not hashed], log.data)
        )
        hashed_values = iter([decode([kind], topic)[0] for kind, topic in zip(_indexed(layout), topics, strict=True)])
    except (DecodingError, OverflowError, ValueError) as error:
        raise Malformed(f"a log of {layout.kind.__name__} cannot be read: {error}") from error
    values = [next(hashed_values if hashed else plain) for hashed in layout.indexed]
    wanted = [field.type for field in msgspec.structs.fields(layout.kind)]
    try:
        event: EscrowEvent = layout.kind(*map(_ours, wanted, values))
    except ValueError as error:
        raise Malformed(f"a log of {layout.kind.__name__} names a state that does not exist: {error}") from error
    return event


def _indexed(layout: _Layout) -> list[str]:
    return [kind for kind, hashed in zip(layout.types, layout.indexed, strict=True) if hashed]


def _ours(wanted: object, value: object) -> object:
    """eth_abi answers addresses as text, amounts and states as int."""
    if wanted is OnChainState and isinstance(value, int):
        return OnChainState(value)
    if wanted is Address:
        return Address(bytes.fromhex(str(value)[2:]))
    return Tokens(value) if wanted is Tokens and isinstance(value, int) else value
