"""What exactly do the parties of a deal sign, and what is its digest?

Six EIP-712 structs in one domain, that of the escrow contract that would judge them. Digests are packed by hand (four
times as fast as a general encoder); ``tests/protocols/test_eip712.py`` holds them against eth-account's encoder. On the
wire the same structs are msgpack arrays (``protocols.canonical``), amounts as 32 bytes.

Every field is one static 32-byte word, also ``gpus``: EIP-712 encodes an array as the hash of its elements, and the
contract takes that hash in its calldata. So ``deal_words`` is at once the preimage of the digest and the calldata.
Source: EIP-712, https://eips.ethereum.org/EIPS/eip-712
"""

import struct
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec

from protocols.deals.terms import (
    DEVNET_BOUNDS,
    PUBLIC_BOUNDS,
    Enforcement,
    EscrowBounds,
    Level,
    Metering,
    OnChainState,
    OutcomeCode,
    SettlementMode,
    check_terms,
)
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, DealId, Hash32, JobId, Seconds, Tokens, UnixSeconds

__all__ = [
    "DEVNET_BOUNDS",
    "MAX_DEAL_GPUS",
    "PUBLIC_BOUNDS",
    "Cancellation",
    "Deal",
    "DeliveryReceipt",
    "Domain",
    "Enforcement",
    "EscrowBounds",
    "Level",
    "Metering",
    "OnChainState",
    "OperatorConsent",
    "OutcomeCode",
    "ResultCommit",
    "ResultReceipt",
    "Settlement",
    "SettlementMode",
    "SignedStruct",
    "check_terms",
    "deal_id",
    "deal_words",
    "digest",
    "gpus_hash",
]

MAX_DEAL_GPUS: Final = 64
"""GPUs that one deal may name: four times the largest single host sold today, and 2 KiB of a message."""

_CACHED_DOMAINS: Final = 64
"""Separators kept: a node trades on one chain in a handful of tokens; a test run meets more."""

_BYTE_WIDTHS: Final = {"address": 20, "bytes32": 32}


class SignedStruct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the six structs share: an EIP-712 type, and fields that fit it.

    A field that does not fit its EIP-712 type raises ``ValueError`` where the struct is built, which makes it a
    ``malformed`` message when it came from a peer.
    """

    TYPE: ClassVar[str] = ""
    """The EIP-712 type string."""
    TYPEHASH: ClassVar[Hash32]
    _widths: ClassVar[tuple[tuple[str, int], ...]] = ()
    _ranges: ClassVar[tuple[tuple[str, int, int], ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.TYPEHASH = keccak256(cls.TYPE.encode())
        members = [member.split() for member in cls.TYPE[cls.TYPE.index("(") + 1 : -1].split(",")]
        fields = [(_snake(name), kind) for kind, name in members]
        cls._widths = tuple((name, _BYTE_WIDTHS[kind]) for name, kind in fields if kind in _BYTE_WIDTHS)
        cls._ranges = tuple((name, *_int_range(kind)) for name, kind in fields if "int" in kind)

    def __post_init__(self) -> None:
        for name, width in self._widths:
            if len(getattr(self, name)) != width:
                raise ValueError(f"{name} must have {width} bytes, got {len(getattr(self, name))}")
        for name, least, most in self._ranges:
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in [{least}, {most}], got {getattr(self, name)}")

    def words(self) -> bytes:
        """EIP-712 ``encodeData``: one 32-byte word per field."""
        raise NotImplementedError


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _int_range(kind: str) -> tuple[int, int]:
    bits = int(kind.removeprefix("u").removeprefix("int"))
    return (0, (1 << bits) - 1) if kind.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)


_DEAL: Final = struct.Struct(
    ">12x20s12x20s12x20s24xQ28xI32s32s32s16x16s31xB16x16s31xB32s32s31xB28xI16x16s28xI24xQ32s32s24xQ28xI28xI28xI31xB"
)


class Deal(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole of what client and provider agree on; its digest is the deal's identity (``DealId``)."""

    TYPE: ClassVar[str] = (
        "Deal(address client,address provider,address token,uint64 runNonce,uint32 index,bytes32 jobId,bytes32 image,"
        "bytes32[] gpus,uint128 price,uint8 metering,uint128 collateral,uint8 level,bytes32 levelParams,"
        "bytes32 numericClass,uint8 enforcement,uint32 auditPpm,uint128 seatFee,uint32 seatClass,uint64 seatSnapshot,"
        "bytes32 clientSecretHash,bytes32 providerSecretHash,uint64 commitBy,uint32 execSeconds,uint32 claimSeconds,"
        "uint32 windowSeconds,uint8 settlement)"
    )

    client: Address
    """The client's operator: the address of its node key."""
    provider: Address
    token: Address
    run_nonce: int
    index: int
    """0 for the first try of a run, then one more per retry or replica. (client, run_nonce, index) is consumed once."""
    job_id: JobId
    image: Hash32
    gpus: tuple[Hash32, ...]
    price: Tokens
    metering: Metering
    collateral: Tokens
    level: Level
    level_params: Hash32
    numeric_class: Hash32
    enforcement: Enforcement
    audit_ppm: int
    seat_fee: Tokens
    seat_class: int
    seat_snapshot: int
    client_secret_hash: Hash32
    provider_secret_hash: Hash32
    commit_by: UnixSeconds
    exec_seconds: Seconds
    claim_seconds: Seconds
    """From the end of ``exec_seconds`` to the claim deadline."""
    window_seconds: Seconds
    """From the claim to ``finalize``."""
    settlement: SettlementMode

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.gpus) > MAX_DEAL_GPUS:
            raise ValueError(f"gpus names {len(self.gpus)} GPUs, at most {MAX_DEAL_GPUS} are allowed")
        if any(len(gpu) != 32 for gpu in self.gpus):
            raise ValueError("gpus must be ids of 32 bytes each")

    def words(self) -> bytes:
        """The 26 words, 832 bytes; ``gpus`` appears as its hash."""
        return _DEAL.pack(
            self.client,
            self.provider,
            self.token,
            self.run_nonce,
            self.index,
            self.job_id,
            self.image,
            gpus_hash(self.gpus),
            self.price.to_bytes(16),
            self.metering,
            self.collateral.to_bytes(16),
            self.level,
            self.level_params,
            self.numeric_class,
            self.enforcement,
            self.audit_ppm,
            self.seat_fee.to_bytes(16),
            self.seat_class,
            self.seat_snapshot,
            self.client_secret_hash,
            self.provider_secret_hash,
            self.commit_by,
            self.exec_seconds,
            self.claim_seconds,
            self.window_seconds,
            self.settlement,
        )


class Settlement(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The client's consent: ``paid`` of the price is the provider's, the rest returns to the client."""

    TYPE: ClassVar[str] = "Settlement(bytes32 dealId,uint128 paid)"

    deal_id: DealId
    paid: Tokens

    def words(self) -> bytes:
        return self.deal_id + self.paid.to_bytes(32)


class Cancellation(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One party's consent to end a committed deal before any result, with an explicit amount to the provider."""

    TYPE: ClassVar[str] = "Cancellation(bytes32 dealId,uint128 paid)"

    deal_id: DealId
    paid: Tokens

    def words(self) -> bytes:
        return self.deal_id + self.paid.to_bytes(32)


class ResultCommit(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The provider's result, sealed: two different ones for a deal are objective fraud."""

    TYPE: ClassVar[str] = (
        "ResultCommit(bytes32 dealId,bytes32 saltedRoot,uint8 outcome,int32 exitCode,uint64 fuel,uint64 wallMs,"
        "bytes32 logHead)"
    )

    deal_id: DealId
    salted_root: Hash32
    outcome: OutcomeCode
    exit_code: int
    fuel: int
    wall_ms: int
    log_head: Hash32

    def words(self) -> bytes:
        return b"".join(
            (
                self.deal_id,
                self.salted_root,
                self.outcome.to_bytes(32),
                self.exit_code.to_bytes(32, signed=True),
                self.fuel.to_bytes(32),
                self.wall_ms.to_bytes(32),
                self.log_head,
            )
        )


class DeliveryReceipt(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The client holds and has verified all bytes of the result. ``result_hash`` is the digest of the ResultCommit."""

    TYPE: ClassVar[str] = "DeliveryReceipt(bytes32 dealId,bytes32 resultHash)"

    deal_id: DealId
    result_hash: Hash32

    def words(self) -> bytes:
        return self.deal_id + self.result_hash


class ResultReceipt(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The client has the provider's commitment; the audit draws on ``beacon_round``, which lies ahead of it."""

    TYPE: ClassVar[str] = "ResultReceipt(bytes32 dealId,bytes32 resultHash,uint64 beaconRound)"

    deal_id: DealId
    result_hash: Hash32
    beacon_round: int

    def words(self) -> bytes:
        return self.deal_id + self.result_hash + self.beacon_round.to_bytes(32)


class OperatorConsent(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An operator's consent to trade on ``owner``'s money; ``nonce`` is the escrow's ``consentNonce(operator)``."""

    TYPE: ClassVar[str] = "OperatorConsent(address owner,address operator,uint64 nonce)"

    owner: Address
    operator: Address
    nonce: int

    def words(self) -> bytes:
        return bytes(12) + self.owner + bytes(12) + self.operator + self.nonce.to_bytes(32)


class Domain(msgspec.Struct, frozen=True):
    """Where a signature counts: one escrow on one chain."""

    TYPE: ClassVar[str] = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    NAME: ClassVar[str] = "MeshEscrow"
    VERSION: ClassVar[str] = "1"

    chain_id: int
    escrow: Address

    def __post_init__(self) -> None:
        if len(self.escrow) != 20:
            raise LocalProtocolError(f"an escrow address has 20 bytes, got {len(self.escrow)}")

    @property
    def separator(self) -> Hash32:
        """The domain separator, computed once per domain."""
        return _separator(self.chain_id, self.escrow)


@lru_cache(maxsize=_CACHED_DOMAINS)
def _separator(chain_id: int, escrow: Address) -> Hash32:
    return keccak256(
        keccak256(Domain.TYPE.encode()),
        keccak256(Domain.NAME.encode()),
        keccak256(Domain.VERSION.encode()),
        chain_id.to_bytes(32),
        bytes(12) + escrow,
    )


def digest(domain: Domain, value: SignedStruct) -> Hash32:
    """What gets signed: ``keccak(0x1901 || separator || keccak(typehash || words))``."""
    return keccak256(b"\x19\x01", domain.separator, keccak256(value.TYPEHASH, value.words()))


def deal_id(domain: Domain, deal: Deal) -> DealId:
    """A deal's identity on this escrow."""
    return DealId(digest(domain, deal))


def deal_words(deal: Deal) -> bytes:
    """A deal as calldata of ``MeshEscrow``: its 26 words, with ``gpus`` as their hash."""
    return deal.words()


def gpus_hash(gpus: tuple[Hash32, ...]) -> Hash32:
    """EIP-712's encoding of ``bytes32[] gpus``: the hash of the concatenated elements."""
    return keccak256(*gpus)
