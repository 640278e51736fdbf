"""Which numbers may the terms of a deal be? The enumerations, and the ranges that the escrow enforces at commit.

``check_terms`` is the Python half of ``MeshEscrow.commit``'s range checks, in the same order and with the same field
names; ``tests/contracts/test_terms.py`` runs both on the same hostile deals. A node checks before it signs, so that an
honest provider never finds out at commit time.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from protocols.errors import RemoteProtocolError
from protocols.units import PPM, Address, Seconds, Tokens, UnixSeconds

if TYPE_CHECKING:
    from protocols.deals.eip712 import Deal

__all__ = [
    "BOUNTY_PRICES",
    "DEVNET_BOUNDS",
    "FIRST_SEATS",
    "MAX_COLLATERAL_FACTOR",
    "MAX_SEAT_FEE_FACTOR",
    "MIN_PANEL_COLLATERAL_FACTOR",
    "PUBLIC_BOUNDS",
    "Enforcement",
    "EscrowBounds",
    "Level",
    "Metering",
    "OnChainState",
    "OutcomeCode",
    "SettlementMode",
    "check_terms",
]


class Metering(IntEnum):
    """What the price is counted in. ``PER_SECOND`` is for channels: nobody is paid for seconds it reports itself."""

    FIXED = 0
    PER_SECOND = 1
    FUEL = 2


class Level(IntEnum):
    """How a result is compared with a re-execution."""

    NONE = 0
    EXACT = 1
    CANONICAL = 2
    NUMERIC = 3
    PERCEPTUAL = 4
    REPLICATE = 5


class Enforcement(IntEnum):
    """Who decides about a mismatch: nobody but the client's own choices, or a panel of mediators."""

    SELF = 0
    PANEL = 1


class SettlementMode(IntEnum):
    """How the money moves: a commitment per deal, or vouchers in a channel."""

    COMMIT = 0
    CHANNEL = 1


class OutcomeCode(IntEnum):
    """How a run ended, as signed in a ``ResultCommit``."""

    EXITED = 0
    FAILED = 1
    TRAPPED = 2
    FUEL = 3
    OOM = 4
    TIMEOUT = 5
    OUTPUT_LIMIT = 6
    DISK_LIMIT = 7
    CANCELLED = 8
    INFRA_ERROR = 9


class OnChainState(IntEnum):
    """``State`` of a deal in ``MeshEscrow``. ``DISPUTED`` and ``VOID`` are not reached without a panel."""

    NONE = 0
    COMMITTED = 1
    CLAIMED = 2
    DISPUTED = 3
    SETTLED = 4
    CANCELLED = 5
    EXPIRED = 6
    SLASHED = 7
    VOID = 8
    BURNED = 9


MAX_COLLATERAL_FACTOR: Final = 100
"""Collateral is at most this many prices: more protects nobody and makes a slip of the keyboard ruinous."""


MIN_PANEL_COLLATERAL_FACTOR: Final = 8
"""Under a panel a cheat must expect to lose more than it saves, at the lowest rate of audits: PROTOCOL.md 6, numbers."""
MAX_SEAT_FEE_FACTOR: Final = 3
"""A seat's fee is 1.2 to 3 prices: more than the work of one re-execution, not enough to live on disputes."""
BOUNTY_PRICES: Final = 2
"""What the client gets from a convicted provider beside its price. More would pay for buying a panel."""
FIRST_SEATS: Final = 3
"""Seats of the first panel, k: the smallest number with a majority that is not one seat."""
_MAX_HASH: Final = (1 << 256) - 1


class EscrowBounds(msgspec.Struct, frozen=True, array_like=True):
    """The bounds that one escrow was deployed with, for good: ``MeshEscrow.Bounds``, same order."""

    max_price: Tokens
    max_commit_lead: Seconds
    """``commit_by`` lies at most this far ahead of the commit."""
    max_exec: Seconds
    min_claim: Seconds
    max_claim: Seconds
    window_base: Seconds
    window_exec_factor: int
    """A window is at least ``window_base + window_exec_factor * exec_seconds``: long enough to run the job again."""
    max_window: Seconds
    withdraw_delay: Seconds
    unstake_delay: Seconds


_HOUR: Final = 3_600
_DAY: Final = 24 * _HOUR

DEVNET_BOUNDS: Final = EscrowBounds(
    max_price=Tokens(2**96),
    max_commit_lead=Seconds(_DAY),
    max_exec=Seconds(14 * _DAY),
    min_claim=Seconds(1),
    max_claim=Seconds(14 * _DAY),
    window_base=Seconds(1),
    window_exec_factor=0,
    max_window=Seconds(60 * _DAY),
    withdraw_delay=Seconds(2),
    unstake_delay=Seconds(4),
)
"""A devnet waits seconds, so that a whole deal, silent client included, fits into a test."""

PUBLIC_BOUNDS: Final = EscrowBounds(
    max_price=Tokens(2**96),
    max_commit_lead=Seconds(7 * _DAY),
    max_exec=Seconds(14 * _DAY),
    min_claim=Seconds(48 * _HOUR),
    max_claim=Seconds(14 * _DAY),
    window_base=Seconds(30 * _HOUR),
    window_exec_factor=2,
    max_window=Seconds(60 * _DAY),
    withdraw_delay=Seconds(3 * _DAY),
    unstake_delay=Seconds(14 * _DAY),
)
"""Anything with value: a silent sequencer delays a transaction by 24 h at most, and every window outlasts that."""


def _within(field: str, given: int, least: int, most: int) -> None:
    if not least <= given <= most:
        raise RemoteProtocolError(
            f"deal term {field} = {given} lies outside [{least}, {most}], so the escrow would refuse the commit; "
            f"ask for a deal with {field} in that range",
            code="bad_terms",
        )


def _exactly(field: str, given: bytes, wanted: bytes) -> None:
    if given != wanted:
        raise RemoteProtocolError(
            f"deal term {field} is 0x{given.hex()}, this escrow accepts only 0x{wanted.hex()}; "
            "use the escrow of that token, or quote in this escrow's token",
            code="bad_terms",
        )


def check_terms(deal: "Deal", bounds: EscrowBounds, *, token: Address, now: UnixSeconds, panel: bool = False) -> None:
    """Refuse a deal that an escrow with these ``bounds`` and this ``token`` would refuse at block time ``now``.

    ``panel``: whether the escrow has one. Raises RemoteProtocolError(code="bad_terms") that names the first field out of
    range. Balances and signatures are not looked at. A deal that is to be committed later passes if it passes now and is
    committed by ``commit_by``.
    """
    _exactly("token", deal.token, token)
    if deal.client == deal.provider:
        raise RemoteProtocolError(
            f"deal term client equals provider (0x{deal.client.hex()}); a node cannot make a deal with itself",
            code="bad_terms",
        )
    _check_modes(deal, panel=panel)
    if deal.metering != Metering.FUEL:
        _within("metering", deal.metering, Metering.FIXED, Metering.FIXED)
    _within("level", deal.level, Level.NONE, Level.REPLICATE)
    _within("price", deal.price, 1, bounds.max_price)
    _within("collateral", deal.collateral, 0, MAX_COLLATERAL_FACTOR * deal.price)
    _within("audit_ppm", deal.audit_ppm, 0, PPM)
    _within("commit_by", deal.commit_by, now, now + bounds.max_commit_lead)
    _within("exec_seconds", deal.exec_seconds, 1, bounds.max_exec)
    _within("claim_seconds", deal.claim_seconds, bounds.min_claim, bounds.max_claim)
    shortest = bounds.window_base + bounds.window_exec_factor * deal.exec_seconds
    _within("window_seconds", deal.window_seconds, shortest, bounds.max_window)
    if deal.enforcement == Enforcement.PANEL:
        _check_panel_terms(deal)


def _check_modes(deal: "Deal", *, panel: bool) -> None:
    """A deal of a channel is never committed, and without a panel its terms mean nothing: refused, not ignored."""
    _within("settlement", deal.settlement, SettlementMode.COMMIT, SettlementMode.COMMIT)
    _within("enforcement", deal.enforcement, Enforcement.SELF, Enforcement.PANEL if panel else Enforcement.SELF)
    if deal.enforcement == Enforcement.PANEL:
        return
    _within("seat_fee", deal.seat_fee, 0, 0)
    _within("seat_class", deal.seat_class, 0, 0)
    _within("seat_snapshot", deal.seat_snapshot, 0, 0)


def _check_panel_terms(deal: "Deal") -> None:
    """What a panel must be able to rely on."""
    price = deal.price
    _within("level", deal.level, Level.EXACT, Level.PERCEPTUAL)
    _within("collateral", deal.collateral, MIN_PANEL_COLLATERAL_FACTOR * price, MAX_COLLATERAL_FACTOR * price)
    _within("seat_fee", deal.seat_fee, (6 * price + 4) // 5, MAX_SEAT_FEE_FACTOR * price)
    promised = BOUNTY_PRICES * price + FIRST_SEATS * deal.seat_fee
    _within("collateral", deal.collateral, promised, MAX_COLLATERAL_FACTOR * price)
    _within("seat_class", deal.seat_class, 1, (1 << 32) - 1)
    _within("seat_snapshot", deal.seat_snapshot, 1, (1 << 64) - 1)
    _within("client_secret_hash", int.from_bytes(deal.client_secret_hash), 1, _MAX_HASH)
    _within("provider_secret_hash", int.from_bytes(deal.provider_secret_hash), 1, _MAX_HASH)
    if deal.client_secret_hash == deal.provider_secret_hash:
        raise RemoteProtocolError(
            "deal term provider_secret_hash equals client_secret_hash, so one side alone would choose the seats; "
            "ask for a deal with a secret of its own",
            code="bad_terms",
        )
