"""Which settled deals bring a provider's score at a tolerance level down, if somebody tells the panel?"""

from protocols.deals.eip712 import Enforcement, digest
from protocols.deals.states import Settled
from protocols.disputes.params import TOLERANCE
from protocols.env import Env
from protocols.messages.deal import ResultNotice
from protocols.state import PROVIDER, Half
from protocols.units import ZERO_HASH, Hash32

__all__ = ["bound_to", "creditable"]


def creditable(half: Half) -> bool:
    """Whether this node's own panel deal may count: at a tolerance level, and not known to have ended unpaid."""
    deal = half.state.terms.deal
    judged = deal.enforcement is Enforcement.PANEL and deal.level in TOLERANCE
    return half.role == PROVIDER and judged


def bound_to(half: Half, env: Env) -> tuple[Hash32, ...]:
    """The results that the escrow's slot may be bound to: none, what was claimed, what was signed."""
    state = half.state
    claim = state.claim if isinstance(state, Settled) else None
    notice = getattr(state, "result", None)
    found = [ZERO_HASH]
    if claim is not None:
        found.append(claim.result_hash)
    if isinstance(notice, ResultNotice):
        found.append(digest(env.domain, notice.commit))
    return tuple(dict.fromkeys(found))
