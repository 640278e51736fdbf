"""How does a transaction that the rules want get onto the chain, exactly once?"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from mesh.base.observe import get_log
from mesh.chain.contracts import Contracts, DealSlot
from mesh.chain.errors import ChainError, FeeAboveCap, InsufficientFunds
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.outcomes import Confirmed, Dropped, Reverted
from mesh.chain.panel import PanelContract
from mesh.chain.submitter import Submitter
from mesh.effects import TxRejected
from mesh.engine import Engine
from mesh.ledger.insisting import ChannelInsistence, Insistence
from protocols.contracts import calls, channels, panel
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals.eip712 import Domain, OnChainState, digest
from protocols.disputes.states import Reason
from protocols.effects import CallPanel, OpenDispute, PostChannelTx, PostTx, ProveFraud
from protocols.limits import NetworkParams
from protocols.units import DealId, Hash32, Tokens

__all__ = ["Posting"]

MAX_LOCKS: Final = 20_000
"""Locks of deals remembered: twice the deals a node may have open."""
FUND: Final = ":fund"
"""Added to the key of a call: the transaction that brings its money to the panel."""
LAST_OF_PHASE_GAS: Final = 1_000_000
"""Above the estimate of a call of the panel: whoever turns out to be the last of its phase also pays for what follows, a
draw of seven seats (671,000) or the end of a dispute (387,000). What is not used costs nothing."""
RETRY_S: Final = 2.0
"""Between tries when the account lacks gas or the fee is above the cap: both mend themselves or are mended by hand."""

MAX_RETRY_S: Final = 60.0
"""The longest pause before a call that was refused is tried again: an endpoint may lag by that much."""

log = get_log("ledger")


class Posting:
    """Escrow calls of one node, and the Locks they need."""

    def __init__(
        self, params: NetworkParams, eth: Eth, contracts: Contracts, submitter: Submitter, deploy_block: int
    ) -> None:
        self._params = params
        self._eth = eth
        self._contracts = contracts
        self._submitter = submitter
        self._deploy_block = deploy_block
        self._domain = Domain(params.chain_id, params.escrow)
        self._funding = trio.Lock()
        self.calls_retried = 0
        """How often a call about a deal or a channel was refused and is tried again."""
        self.disputes_retried = 0
        """How often a dispute was refused and is tried again."""
        self.locks: dict[DealId, Lock] = {}
        """The newest MAX_LOCKS."""

    async def post(self, tx: PostTx) -> None:
        """Get one escrow call onto the chain, exactly once per key. Raises ``TxRejected`` when it can never succeed."""
        await self._insist(tx.key, lambda: self._call(tx), Insistence(tx, self._eth, self._contracts))

    async def post_channel(self, tx: PostChannelTx) -> None:
        """The same for a call about a channel."""
        insistence = ChannelInsistence(tx, self._eth, self._contracts)
        await self._insist(tx.key, lambda: _channel_call(tx, self._contracts), insistence)

    async def _insist(
        self, key: str, call: Callable[[], Awaitable[TxCall]], insistence: Insistence | ChannelInsistence
    ) -> None:
        pause = RETRY_S
        while True:
            try:
                await self._submit(key, call)
            except TxRejected as error:
                if not await insistence.worth_it():
                    raise
                self.calls_retried += 1
                log.warning("tx.refused_and_retried", effect=key, reason=str(error))
                await self._submitter.release(key)
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_S)
            else:
                return

    async def dispute(self, call: CallPanel | OpenDispute) -> None:
        """The same for one call of the panel. What it needs there comes from the owner's free balance, in a call before it.

        The opening of a dispute is tried again for as long as the deal can still be disputed: one endpoint that lags, or a
        free balance that is empty today, must not pay for a wrong result. Other calls are owed again by the rules.
        """
        pause = RETRY_S
        while True:
            try:
                await self._dispute(call)
            except TxRejected as error:
                if isinstance(call, CallPanel) or not await self._open(call):
                    raise
                self.disputes_retried += 1
                log.warning("dispute.retried", effect=call.key, reason=str(error), fix="mesh wallet deposit 100")
                await self._submitter.release(call.key)
                await self._submitter.release(call.key + FUND)
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_S)
            else:
                return

    async def _open(self, call: OpenDispute) -> bool:
        """Whether the deal can still be disputed, as far as its state says."""
        slot = await self._contracts.deal(call.deal.client, call.deal.run_nonce, call.deal.index)
        return slot.state in (OnChainState.COMMITTED, OnChainState.CLAIMED)

    async def _dispute(self, call: CallPanel | OpenDispute) -> None:
        """Once. One at a time, where money is needed: each finds what the others have left."""
        needs = call.needs if isinstance(call, CallPanel) else call.bond
        if not needs:
            await self._submit(call.key, lambda: self.panel_call(call))
            return
        async with self._funding:
            if not await self._submitter.knows(
                call.key
            ):  # what it needed was there when it was signed, and is spent now
                await self._submit(call.key + FUND, lambda: self.fund_call(needs))
                await self._submitter.release(call.key + FUND)
            try:
                await self._submit(call.key, lambda: self.panel_call(call))
            except TxRejected:
                # The provider may have claimed in the same moment; then the dispute takes the other form, once.
                if isinstance(call, CallPanel) or not await self._claimed(call):
                    raise
                await self._submitter.release(call.key)
                await self._submit(call.key, lambda: self.panel_call(call))

    async def prove_fraud(self, proof: ProveFraud) -> None:
        """The same for two results of one provider, whoever has the deal now: the escrow, or the panel."""
        await self._submit(proof.key, lambda: self._fraud_call(proof))

    async def _submit(self, key: str, call: Callable[[], Awaitable[TxCall | None]]) -> None:
        """Until it is confirmed. ``call`` answers None when nothing needs to be sent."""
        while True:
            try:
                made = await call()
                if made is None:
                    return
                outcome = await self._submitter.submit(key, made)
            except (InsufficientFunds, FeeAboveCap) as error:
                log.warning("tx.waits", effect=key, reason=str(error))
                await trio.sleep(RETRY_S)
                continue
            except ChainError as error:
                log.warning("tx.retried", effect=key, reason=str(error))
                await trio.sleep(RETRY_S)
                continue
            match outcome:
                case Confirmed(tx_hash=tx_hash, gas_used=gas):
                    log.info("tx.confirmed", effect=key, tx="0x" + tx_hash.hex(), gas=gas)
                    return
                case Reverted(reason=reason):
                    raise TxRejected(str(reason))
                case Dropped():
                    await self._submitter.release(key)

    async def release(self, key: str) -> None:
        """The outcome of a transaction is durable elsewhere: its key may be forgotten."""
        await self._submitter.release(key)
        if key.startswith("panel:"):
            await self._submitter.release(key + FUND)

    async def _call(self, tx: PostTx) -> TxCall:
        deal, escrow = tx.deal, self._contracts
        match tx.purpose:
            case "commit":
                return escrow.commit(deal, tx.signature)
            case "burn":
                return escrow.burn_run(deal.run_nonce, deal.index)
            case "settle":
                return escrow.settle(await self._lock(tx), tx.amount, tx.signature, tx.result_hash)
            case "cancel":
                return escrow.cancel(await self._lock(tx), tx.amount, tx.signature)
            case "claim":
                return escrow.claim(await self._lock(tx), tx.result_hash)
            case "finalize":
                return escrow.finalize(await self._lock(tx), tx.result_hash)
            case "expire":
                return escrow.expire(await self._lock(tx))
            case "void":
                return escrow.poke(await self._lock(tx), tx.result_hash)
            case _:
                raise TxRejected(f"no escrow call is named {tx.purpose}")

    async def panel_call(self, call: CallPanel | OpenDispute) -> TxCall:
        """The transaction of a call of the panel, for the deal as it stands now. Raises ``TxRejected`` and ``ChainError``."""
        to = self._params.panel
        if not any(to):
            raise TxRejected("no panel is configured: mesh config set chain.panel 0x...")
        if isinstance(call, CallPanel):
            return TxCall(to, call.data, spare=LAST_OF_PHASE_GAS)
        lock, reason = await self._lock(call), Reason.WITHHELD if call.withheld else Reason.WRONG
        if await self._claimed(call):
            return TxCall(to, panel.dispute(call.deal, lock, call.result_hash, call.secret, reason))
        if call.result is None:
            raise TxRejected("the claim that was to be disputed is no longer there")
        return TxCall(to, panel.dispute_unclaimed(call.deal, lock, call.result, call.signature, call.secret, reason))

    async def stands_for(self, call: OpenDispute, slot: DealSlot) -> bool:
        """Whether the deal's slot can be disputed with the result that ``call`` is about: the claimed one, or, while nothing
        is claimed, one that the provider has signed. Raises ``ChainError``."""
        lock = await self._lock(call)
        if slot.state is OnChainState.CLAIMED:
            return slot.identity == lock.identity(call.result_hash)
        return call.result is not None and slot.identity == lock.identity()

    async def _fraud_call(self, proof: ProveFraud) -> TxCall:
        """With a claim, one signed result other than the claimed one is enough; without, it takes two."""
        slot = await self._contracts.deal(proof.deal.client, proof.deal.run_nonce, proof.deal.index)
        lock = await self._lock(proof)
        signed = [(proof.first, proof.first_signature)]
        if proof.second is not None:
            signed.append((proof.second, proof.second_signature))
        hashes = [digest(self._domain, result) for result, _ in signed]
        bound = next((one for one in (*hashes, proof.claimed) if slot.identity == lock.identity(one)), None)
        others = [pair for pair, one in zip(signed, hashes, strict=True) if one != bound]
        if slot.state is OnChainState.DISPUTED and others:
            return TxCall(self._params.panel, panel.prove_equivocation(*others[-1]))
        if slot.state is OnChainState.CLAIMED and bound is not None and others:
            data = calls.prove_equivocation(lock, others[-1], None, result_hash=bound)
        elif slot.state is OnChainState.COMMITTED and len(signed) == 2:
            data = calls.prove_equivocation(lock, signed[0], signed[1])
        else:
            raise TxRejected(f"the deal is {slot.state.name}: there is nothing to take any more")
        return TxCall(self._params.escrow, data)

    async def _claimed(self, call: OpenDispute) -> bool:
        slot = await self._contracts.deal(call.deal.client, call.deal.run_nonce, call.deal.index)
        return slot.state is OnChainState.CLAIMED

    async def fund_call(self, needs: Tokens) -> TxCall | None:
        """What is missing at the panel for a call; None when there is enough."""
        if not any(self._params.panel):
            return None
        owner = await self._contracts.owner_of(self._submitter.address)
        has = await PanelContract(self._eth.rpc, self._params.panel).account(owner)
        return self._contracts.fund_panel(Tokens(needs - has)) if has < needs else None

    async def _lock(self, tx: PostTx | OpenDispute | ProveFraud) -> Lock:
        """The deal's Lock, as its commitment logged it.

        A node that has forgotten it builds it from the owners of today and asks the escrow whether that is the one; only
        when an owner has changed since is the whole chain searched, which public endpoints may refuse.
        """
        known = self.locks.get(tx.deal_id)
        if known is not None:
            return known
        client = await self._contracts.owner_of(tx.deal.client)
        provider = await self._contracts.owner_of(tx.deal.provider)
        lock = Lock.of(self._domain, tx.deal, client_owner=client, provider_owner=provider)
        slot = await self._contracts.deal(tx.deal.client, tx.deal.run_nonce, tx.deal.index)
        if slot.identity not in {lock.identity(), *map(lock.identity, self._results(tx))}:
            head = await self._eth.head()
            query = LogQuery((self._params.escrow,), ((Hash32(COMMITTED_TOPIC),), (Hash32(tx.deal_id),)))
            found = await self._eth.logs(query, self._deploy_block, head.number)
            lock = Lock.from_log(found[-1].topics, found[-1].data) if found else lock
        self.remember(lock)
        return lock

    def _results(self, tx: PostTx | OpenDispute | ProveFraud) -> tuple[Hash32, ...]:
        """What the slot may be bound to."""
        if not isinstance(tx, ProveFraud):
            return (tx.result_hash,)
        signed = (tx.first, tx.second) if tx.second is not None else (tx.first,)
        return (tx.claimed, *(digest(self._domain, one) for one in signed))

    async def tidy(self, engine: Engine) -> None:
        """Forget transactions whose effects were dropped while they were in flight, once their nonces are used."""
        wanted = engine.outstanding()
        ours = ("tx:", "channel:", "panel:", "poke:", "fraud:")
        if self._submitter.statistics().in_flight <= sum(key.startswith(ours) for key in wanted):
            return
        try:
            await self._submitter.tidy(wanted)
        except ChainError as error:
            log.info("tx.tidy_later", reason=str(error))

    def remember(self, lock: Lock) -> None:
        """Keep the Lock of a committed deal."""
        self.locks.pop(lock.deal_id, None)
        self.locks[lock.deal_id] = lock
        while len(self.locks) > MAX_LOCKS:
            del self.locks[next(iter(self.locks))]


async def _channel_call(tx: PostChannelTx, contracts: Contracts) -> TxCall:
    channel, numbers = tx.channel, (tx.channel.channel_id, tx.amount, tx.count, tx.deals_root)
    match tx.purpose:
        case "fund":
            return contracts.about_channel(channels.fund(channel.provider, tx.amount))
        case "redeem":
            return contracts.about_channel(channels.redeem(channel, channels.Voucher(*numbers), tx.signature))
        case "request_close":
            return contracts.about_channel(channels.request_close(channel))
        case "close_together":
            last = channels.ChannelClose(*numbers)
            return contracts.about_channel(channels.close_together(channel, last, tx.signature))
        case "close":
            return contracts.about_channel(channels.close(channel))
        case _:
            raise TxRejected(f"no escrow call about a channel is named {tx.purpose}")
