"""Is a call of the escrow that was refused worth another try? As long as the deal stands where it can succeed, and has time.

One endpoint that lags refuses what the chain would take, and the rules ask only once: a claim, a settlement or a
finalisation that is given up then is money left to the other side.
"""

from typing import Final

from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth
from protocols.deals.eip712 import OnChainState
from protocols.effects import PostTx

__all__ = ["Insistence"]

_BEFORE: Final = frozenset({OnChainState.NONE, OnChainState.COMMITTED})
"""NONE: to an endpoint that has not seen the commitment."""
_POSSIBLE: Final[dict[str, frozenset[OnChainState]]] = {
    "claim": _BEFORE,
    "expire": _BEFORE,
    "settle": _BEFORE | {OnChainState.CLAIMED},
    "finalize": _BEFORE | {OnChainState.CLAIMED},
}
"""In which states of the deal, as an endpoint may show it late, a call may succeed; others are given up at once: the rules
do without them, or follow up themselves."""


class Insistence:
    """How long one call is tried. ``worth_it`` after each refusal."""

    def __init__(self, tx: PostTx, eth: Eth, contracts: Contracts) -> None:
        self._tx = tx
        self._eth = eth
        self._contracts = contracts
        self._until: int | None = None

    async def worth_it(self) -> bool:
        """Whether to try again. Raises ``ChainError``."""
        possible = _POSSIBLE.get(self._tx.purpose)
        if possible is None:
            return False
        deal = self._tx.deal
        now = (await self._eth.head()).timestamp
        claim_within = deal.exec_seconds + deal.claim_seconds
        if self._until is None:
            self._until = now + claim_within + deal.window_seconds
        slot = await self._contracts.deal(deal.client, deal.run_nonce, deal.index)
        if slot.state not in possible or now > self._until:
            return False
        over = slot.state is OnChainState.COMMITTED and now > slot.since + claim_within
        return not (over and self._tx.purpose == "claim")
