"""Is a call of the escrow that was refused worth another try? As long as the deal stands where it can succeed, and has time.

One endpoint that lags refuses what the chain would take, and the rules ask only once: a claim, a settlement or a
finalisation that is given up then is money left to the other side.
"""

from typing import Final

from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth
from protocols.channels.states import ENDS_SOON
from protocols.deals.eip712 import OnChainState
from protocols.effects import PostChannelTx, PostTx

__all__ = ["ChannelInsistence", "Insistence"]

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


_A_WEEK_S: Final = 7 * 24 * 3600
"""How long a call about a channel is tried: no endpoint that anybody uses is behind for longer."""


class ChannelInsistence:
    """The same for a channel. What was earned and is not redeemed before the channel closes is the client's; a deposit whose
    close is given up stays locked for a year."""

    def __init__(self, tx: PostChannelTx, eth: Eth, contracts: Contracts) -> None:
        self._tx = tx
        self._eth = eth
        self._contracts = contracts
        self._until: int | None = None

    async def worth_it(self) -> bool:
        """Whether to try again. Raises ``ChainError``."""
        tx, channel = self._tx, self._tx.channel
        if tx.purpose not in ("redeem", "request_close", "close"):
            return False
        now = (await self._eth.head()).timestamp
        if self._until is None:
            self._until = now + _A_WEEK_S
        known, word = await self._contracts.channel_of(channel.client, channel.provider, channel.client_owner)
        if now > self._until or known.generation > channel.generation:
            return False
        if known.generation < channel.generation:
            return True  # this endpoint has not seen it opened
        if not word.until:
            return False
        if tx.purpose == "request_close":
            return word.until - now >= ENDS_SOON
        return tx.purpose == "close" or word.redeemed < tx.amount
