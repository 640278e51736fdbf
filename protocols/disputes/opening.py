"""How does a client's node dispute a result?"""

from protocols.deals.eip712 import Enforcement, digest
from protocols.deals.states import DealTerms
from protocols.disputes.params import bond_of, fee_of
from protocols.effects import OpenDispute
from protocols.env import Env
from protocols.messages.deal import ResultNotice

__all__ = ["open_dispute"]


def open_dispute(terms: DealTerms, notice: ResultNotice, env: Env, *, withheld: bool) -> tuple[OpenDispute, ...]:
    """The effect that disputes a result which the provider has signed, claimed or not; none where the parties have not agreed
    on a panel.

    It shows this client's secret, which is derived from its key: nobody else could have opened the dispute.
    """
    deal = terms.deal
    if deal.enforcement is not Enforcement.PANEL:
        return ()
    effect = OpenDispute(
        key=f"panel:{terms.deal_id.hex()}:dispute",
        deal_id=terms.deal_id,
        deal=deal,
        result=notice.commit,
        signature=notice.signature,
        result_hash=digest(env.domain, notice.commit),
        secret=env.signer.derive("client-secret", terms.rfq_id),
        withheld=withheld,
        bond=bond_of(fee_of(deal.seat_fee, deal.price, deal.collateral), deal.price),
    )
    return (effect,)
