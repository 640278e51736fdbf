"""What can whoever opens a dispute from a dossier win and lose, and what does the dossier lack for it?"""

import msgspec

from protocols.deals.dossier import Dossier
from protocols.deals.eip712 import Enforcement, deal_id, digest
from protocols.disputes.params import BOUNTY_PRICES, FIRST_SEATS, appeal_deposit, bond_of, fee_of
from protocols.effects import OpenDispute
from protocols.errors import RemoteProtocolError
from protocols.units import ZERO_HASH, Signature, Tokens

__all__ = ["Stakes", "dispute_of", "stakes_of"]


class Stakes(msgspec.Struct, frozen=True):
    """The funder's view of the rows of `payouts`, in wei."""

    bond: Tokens
    """Returns when the client was right. Lost when the provider was, when the inputs are missing, and after a split."""
    shared: Tokens
    """Not returned when both sides pay half of the seats (rows BLAMELESS, UNPROVEN); the bond's rest is."""
    appeal: Tokens
    """What each side puts up when somebody appeals. Nobody has to; who does not answer an appeal has lost."""
    to_client: Tokens
    """To the client, not to the funder, when it was right: its price and the bounty."""


def stakes_of(dossier: Dossier) -> Stakes:
    """What a dispute about this deal puts at stake."""
    deal = dossier.deal
    fee = fee_of(deal.seat_fee, deal.price, deal.collateral)
    fees = FIRST_SEATS * fee
    return Stakes(
        bond=bond_of(fee, deal.price),
        shared=Tokens(fees - fees // 2),
        appeal=appeal_deposit(fee),
        to_client=Tokens((1 + BOUNTY_PRICES) * deal.price),
    )


def dispute_of(dossier: Dossier, *, withheld: bool) -> OpenDispute:
    """The dispute that the dossier suffices for. Raises RemoteProtocolError(code="incomplete") naming what it lacks."""
    deal, result = dossier.deal, dossier.result
    if deal.enforcement is not Enforcement.PANEL:
        raise _lacks("a panel: the parties have agreed that nobody judges this deal")
    if dossier.client_secret is None:
        raise _lacks("the client's secret: the client adds it with mesh deal evidence --secret")
    if result is None and dossier.claim is None:
        raise _lacks("a result: the provider has neither signed nor claimed one")
    name = deal_id(dossier.domain, deal)
    claimed = dossier.claim.result_hash if dossier.claim else ZERO_HASH
    return OpenDispute(
        key=f"panel:{name.hex()}:dispute:dossier",
        deal_id=name,
        deal=deal,
        result=result.commit if result else None,
        signature=result.signature if result else Signature(b""),
        result_hash=claimed if result is None else digest(dossier.domain, result.commit),
        secret=dossier.client_secret,
        withheld=withheld,
        bond=stakes_of(dossier).bond,
    )


def _lacks(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the dossier lacks {what}", code="incomplete")
