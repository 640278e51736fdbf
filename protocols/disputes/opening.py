"""How does a client's node dispute a result?"""

from protocols.deals.eip712 import Enforcement, digest
from protocols.deals.states import DealTerms
from protocols.disputes.params import bond_of, fee_of
from protocols.effects import OpenDispute
from protocols.env import Env
from protocols.messages.deal import ResultNotice
from protocols.units import ZERO_HASH, Hash32, Signature

__all__ = ["open_dispute"]


def open_dispute(
    terms: DealTerms,
    notice: ResultNotice | None,
    env: Env,
    *,
    withheld: bool,
    result_hash: Hash32 = ZERO_HASH,
    attempt: Hash32 | None = None,
) -> tuple[OpenDispute, ...]:
    """The effect that disputes a result which the provider has signed, claimed or not; none where the parties have not agreed
    on a panel. ``result_hash``: what was claimed, where this client was told nothing else (``notice`` is None).
    ``attempt``: makes the key new when a reorganisation undid an earlier one.

    It shows this client's secret, which is derived from its key: nobody else could have opened the dispute.
    """
    deal = terms.deal
    if deal.enforcement is not Enforcement.PANEL:
        return ()
    suffix = f":{attempt.hex()[:16]}" if attempt else ""
    effect = OpenDispute(
        key=f"panel:{terms.deal_id.hex()}:dispute{suffix}",
        deal_id=terms.deal_id,
        deal=deal,
        result=notice.commit if notice else None,
        signature=notice.signature if notice else Signature(b""),
        result_hash=digest(env.domain, notice.commit) if notice else result_hash,
        secret=env.signer.derive("client-secret", terms.rfq_id),
        withheld=withheld,
        bond=bond_of(fee_of(deal.seat_fee, deal.price, deal.collateral), deal.price),
    )
    return (effect,)
