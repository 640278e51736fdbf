"""How does a deal end on chain without a panel, seen by either party?"""

from protocols.deals.inputs import ChainMoved, Step, over, say
from protocols.deals.states import Claimed, DealState, Expired, Settled

__all__ = ["expired", "settled"]


def settled(state: DealState, moved: ChainMoved, *, forget: bool) -> Step:
    """Paid, with the client's consent, after the window, or as much as a cancellation says. ``forget``: see ``over``."""
    terms = state.terms
    final = Settled(
        terms=terms,
        tx=moved.tx,
        paid=moved.paid,
        how=moved.to,
        result=getattr(state, "result", None),
        checked=getattr(state, "checked", ""),
        commitment=getattr(state, "commitment", None),
        sign_off=getattr(state, "sign_off", None),
        claim=state if isinstance(state, Claimed) else getattr(state, "claim", None) or None,
    )
    note = say(terms, f"deal.{moved.to}", tx="0x" + moved.tx.hex(), paid=str(moved.paid))
    return final, (*over(terms, forget=forget), note)


def expired(state: DealState, moved: ChainMoved, *, forget: bool) -> Step:
    """No claim in time: the price is back, the penalty taken."""
    final = Expired(state.terms, moved.tx, getattr(state, "commitment", None))
    note = say(state.terms, "deal.expired", tx="0x" + moved.tx.hex())
    return final, (*over(state.terms, forget=forget), note)
