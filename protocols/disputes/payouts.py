"""Where does the money of a dispute go? Eight rows, each of which adds up.

P price, C collateral, F a seat's fee, k = 3, B = kF + P/2 the bond, n seats of the first panel in the majority. What n
falls short of k is burned: nobody gains when a seat loses.
"""

from typing import assert_never

import msgspec

from protocols.disputes.params import BOUNTY_PRICES, FIRST_SEATS, NEVER_GROUNDS, TOLERANCE, bond_of
from protocols.disputes.states import Case, Finding, Outcome, Phase, Reason, Row, Side
from protocols.disputes.tolerance import after_failure, takes_all

__all__ = ["END", "Payout", "payout", "row_of", "winner_of"]

END = {
    Row.FORFEIT: Phase.SLASHED,
    Row.CONVICTED: Phase.SLASHED,
    Row.LOST: Phase.SLASHED,
    Row.BLAMELESS: Phase.VOID,
    Row.ACQUITTED: Phase.SETTLED,
    Row.UNPROVEN: Phase.SETTLED,
    Row.UNSERVED: Phase.SETTLED,
    Row.VOID: Phase.VOID,
}
"""The final state of each row."""


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """The first five divide P + C, in the escrow; the others divide the bond and what the escrow sent, in the panel."""

    to_client: int = 0
    to_provider: int = 0
    """Less the fee of one percent, which the escrow burns."""
    to_stake: int = 0
    to_panel: int = 0
    burned: int = 0
    funder: int = 0
    """Of the bond, back to the account that put it up."""
    provider_credit: int = 0
    seats: int = 0
    """To the seats of the first panel that are in the majority, F each."""
    panel_burned: int = 0


def winner_of(finding: Finding) -> Side | None:
    """Who is right by a panel's finding; None after a split."""
    match finding.outcome:
        case Outcome.SPLIT:
            return None
        case Outcome.GUILTY | Outcome.NO_OUTPUTS:
            return Side.CLIENT
        case Outcome.ACQUITTED | Outcome.NO_INPUTS:
            return Side.PROVIDER
        case _ as never:
            assert_never(never)


def row_of(case: Case, finding: Finding, winner: Side | None, score: int) -> Row:
    """Which row a dispute ends with. ``finding`` is the last panel's; ``winner`` differs from it when one side let an
    appeal go by; ``score`` is the provider's at this level, before."""
    if winner is None:
        return Row.VOID
    if winner is Side.PROVIDER:
        if finding.outcome is Outcome.NO_INPUTS:
            return Row.UNSERVED
        return Row.UNPROVEN if case.reason is Reason.WITHHELD and not case.delivered else Row.ACQUITTED
    if finding.outcome is Outcome.NO_OUTPUTS:
        return Row.FORFEIT
    if case.outcome in NEVER_GROUNDS:
        return Row.BLAMELESS
    if case.level in TOLERANCE and not takes_all(after_failure(score)):
        return Row.LOST
    return Row.CONVICTED


def payout(row: Row, case: Case, paid: int, *, had_majority: bool) -> Payout:
    """The amounts. ``paid``: how many seats of the first panel get their fee; ``had_majority``: whether any panel of this
    dispute had one."""
    price, collateral = case.lock.price, case.lock.collateral
    bond = bond_of(case.fee, price)
    match row:
        case Row.FORFEIT | Row.CONVICTED | Row.LOST:
            return _lost_by_provider(row, case, paid)
        case Row.BLAMELESS | Row.UNPROVEN:
            return _shared(row, case, paid)
        case Row.ACQUITTED:
            seats, fees = paid * case.fee, FIRST_SEATS * case.fee
            return Payout(
                to_provider=price,
                to_stake=collateral,
                provider_credit=bond - fees,
                seats=seats,
                panel_burned=fees - seats,
            )
        case Row.UNSERVED:
            return Payout(to_provider=price, to_stake=collateral, panel_burned=bond)
        case Row.VOID:
            kept = 0 if had_majority else bond
            return Payout(to_client=price, to_stake=collateral, funder=bond - kept, panel_burned=kept)
        case _ as never:
            assert_never(never)


def _lost_by_provider(row: Row, case: Case, paid: int) -> Payout:
    """The bond returns; seats and bounty come out of C. After a first tolerance failure there is no bounty."""
    price, collateral = case.lock.price, case.lock.collateral
    bond, seats = bond_of(case.fee, price), paid * case.fee
    if row is Row.LOST:
        taken = price + FIRST_SEATS * case.fee
        return Payout(
            to_client=price,
            to_stake=collateral - taken,
            to_panel=seats,
            burned=taken - seats,
            funder=bond,
            seats=seats,
        )
    seats = 0 if row is Row.FORFEIT else seats
    bounty = BOUNTY_PRICES * price
    return Payout(
        to_client=price + bounty, to_panel=seats, burned=collateral - bounty - seats, funder=bond, seats=seats
    )


def _shared(row: Row, case: Case, paid: int) -> Payout:
    """Nobody is to blame: each side pays half of the seats' fees, the provider the odd one."""
    price, collateral = case.lock.price, case.lock.collateral
    fees, seats = FIRST_SEATS * case.fee, paid * case.fee
    half = fees // 2
    return Payout(
        to_client=price if row is Row.BLAMELESS else 0,
        to_provider=0 if row is Row.BLAMELESS else price,
        to_stake=collateral - (fees - half),
        to_panel=fees - half,
        funder=bond_of(case.fee, price) - half,
        seats=seats,
        panel_burned=fees - seats,
    )
