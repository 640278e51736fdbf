"""Who tells the panel that a deal was settled, so that a provider's score at a tolerance level comes down? Its own node.

Only where there is a score to bring down: otherwise nothing is asked for and no gas is spent. A deal counts once, and only if it
was settled after the last failure; the contract knows, and refuses at no cost.
"""

from typing import Final

import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.chain import events as on_chain
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError
from mesh.chain.eth import TxCall
from mesh.chain.events import topic_of
from mesh.chain.feed import LogRef
from mesh.chain.outcomes import Confirmed
from mesh.chain.panel import PanelContract, ScoresContract
from mesh.chain.rpc import Rpc
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Log
from mesh.engine import Engine
from protocols import events as ev
from protocols.contracts import panel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import OnChainState
from protocols.deals.states import Settled
from protocols.disputes.credits import bound_to, creditable
from protocols.limits import NetworkParams
from protocols.state import Half, NodeState
from protocols.units import Address, DealId

__all__ = ["MAX_WAITING", "Crediting"]

MAX_WAITING: Final = 1024
"""Settled deals that wait to be told: beyond it they are told after the next restart."""
_PAID: Final = frozenset(
    (topic_of(on_chain.DealSettled), topic_of(on_chain.DealFinalized), topic_of(on_chain.DisputeClosed))
)

log = get_log("ledger")


class Crediting:
    """One node's credits. ``scores``: the contract, when it is not the panel's own."""

    def __init__(
        self, params: NetworkParams, rpc: Rpc, contracts: Contracts, submitter: Submitter, clock: Clock,
        *, scores: Address | None = None,
    ) -> None:  # fmt: skip
        self._params, self._rpc, self._contracts = params, rpc, contracts
        self._submitter, self._clock, self._scores = submitter, clock, scores
        self._send, self._due = trio.open_memory_channel[DealId](MAX_WAITING)

    async def told(self, engine: Engine, ref: LogRef, seen: Log | None) -> None:
        """A watcher of the feed: a deal was paid for. Those of others, which all come by here, take no place in the queue."""
        if seen is not None and seen.topics[0] in _PAID and len(seen.topics) > 1:
            deal_id = DealId(seen.topics[1])
            half = engine.view(lambda state: state.durable.deals.get(deal_id))
            if half is not None and creditable(half):
                self._put(deal_id)

    async def run(self, engine: Engine) -> None:
        """Tell the panel until cancelled; begins with the deals that were settled before a restart."""
        for deal_id in engine.view(_settled):
            self._put(deal_id)
        async for deal_id in self._due:
            half = engine.view(lambda state, name=deal_id: state.durable.deals.get(name))  # type: ignore[misc]
            if half is None or not creditable(half):
                continue
            try:
                await self.credit(engine, deal_id, half)
            except ChainError as error:
                log.info("score.uncredited", deal=deal_id.hex(), reason=str(error))

    def _put(self, deal_id: DealId) -> None:
        try:
            self._send.send_nowait(deal_id)
        except trio.WouldBlock:
            log.warning("score.later", deal=deal_id.hex(), fix="restart the node when it is less busy")

    async def credit(self, engine: Engine, deal_id: DealId, half: Half) -> None:
        """One deal, where there is a score. Raises ``ChainError``."""
        deal = half.state.terms.deal
        owner = await self._contracts.owner_of(deal.provider)
        address = self._scores or await PanelContract(self._rpc, self._params.panel).scores()
        scores = ScoresContract(self._rpc, address)
        if not await scores.score_of(owner, deal.level):
            return
        slot = await self._contracts.deal(deal.client, deal.run_nonce, deal.index)
        client = await self._contracts.owner_of(deal.client)
        lock = Lock.of(self._contracts.domain, deal, client_owner=client, provider_owner=owner)
        bound = next((one for one in bound_to(half, engine.env) if lock.identity(one) == slot.identity), None)
        if slot.state is not OnChainState.SETTLED or bound is None:
            return  # not paid, or its owner is another now: then that one's score is not ours to mend
        key = f"credit:{deal_id.hex()}"
        outcome = await self._submitter.submit(key, TxCall(address, panel.credit_settled(deal, lock, bound)))
        await self._submitter.release(key)
        if isinstance(outcome, Confirmed):
            left = await scores.score_of(owner, deal.level)
            at = self._clock.monotonic_ms()
            await engine.post(ev.ScoreCredited(at=at, deal_id=deal_id, score=left))


def _settled(state: NodeState) -> list[DealId]:
    """Deals that were paid, whether they were told or not: only the chain knows that."""
    return [one for one, half in state.durable.deals.items() if isinstance(half.state, Settled) and creditable(half)]
