"""How does somebody who is no party dispute a deal? What it needs and costs, and the transactions, over an open ledger.

Whoever has the client's secret may open the dispute and put up the bond. A node of a party does this by itself, for days if it
must (`posting`); here a person waits, so each step is tried once and its refusal is told.
"""

from typing import Final

import msgspec

from mesh.base.errors import ChainOrFunds
from mesh.chain.outcomes import Confirmed, Outcome, Reverted
from mesh.chain.panel import DisputeStatus, PanelContract
from mesh.ledger.ledger import Ledger
from mesh.ledger.posting import FUND, LAST_OF_PHASE_GAS
from protocols.deals.eip712 import OnChainState
from protocols.effects import OpenDispute
from protocols.units import Tokens, UnixSeconds

__all__ = ["DisputeQuote", "open_dispute", "quote_dispute"]

OPENING_GAS: Final = 460_000
"""Opening needs 381,000 and some: while the bond is not at the panel the call itself cannot be estimated."""


class DisputeQuote(msgspec.Struct, frozen=True):
    """What the sender has, and what opening takes. Amounts in wei."""

    bond: Tokens
    at_panel: Tokens
    """Of the sender's owner, for this bond."""
    free: Tokens
    """In the escrow, from where the rest of the bond comes."""
    gas_wei: int
    """Expected, at today's base fee."""
    for_gas: int
    until: UnixSeconds
    """The last block time at which the deal can be disputed."""
    now: UnixSeconds

    @property
    def moves(self) -> Tokens:
        """From the free balance to the panel first."""
        return Tokens(max(self.bond - self.at_panel, 0))


async def quote_dispute(ledger: Ledger, call: OpenDispute) -> DisputeQuote:
    """What the dispute takes. Raises ``ChainOrFunds`` when it cannot be opened: too late, not there, about
    another result, or not enough money."""
    if not any(ledger.params.panel):
        raise ChainOrFunds("no panel is configured", fix="mesh config set chain.panel 0x...")
    deal = call.deal
    slot = await ledger.contracts.deal(deal.client, deal.run_nonce, deal.index)
    if slot.state not in (OnChainState.COMMITTED, OnChainState.CLAIMED):
        raise ChainOrFunds(
            f"the deal cannot be disputed: it is {slot.state.name}",
            why="a dispute is opened while a deal is committed, or in the window after its claim",
            fix="mesh deal verify FILE   (says what the dossier knows of its end)",
        )
    lasts = deal.window_seconds if slot.state is OnChainState.CLAIMED else deal.exec_seconds + deal.claim_seconds
    head = await ledger.eth.head()
    until = UnixSeconds(slot.since + lasts)
    if head.timestamp > until:
        raise ChainOrFunds("it is too late to dispute the deal", why=f"that was possible until {until} (Unix seconds)")
    if not await ledger.posting.stands_for(call, slot):
        what = "something else is claimed" if slot.state is OnChainState.CLAIMED else "nothing is claimed"
        raise ChainOrFunds(
            "the deal cannot be disputed with this file, which is about another result",
            why=f"on chain {what}, and the panel hears of no other result",
            fix=f"ask the client for a newer file: mesh deal evidence {call.deal_id.hex()[:16]} --secret",
        )
    me = ledger.submitter.address
    at_panel = await PanelContract(ledger.rpc, ledger.params.panel).account(await ledger.contracts.owner_of(me))
    free, _ = await ledger.account(me)
    gas = OPENING_GAS if at_panel < call.bond else await _gas(ledger, call)
    fund = await ledger.posting.fund_call(call.bond)
    if fund is not None and free >= call.bond - at_panel:
        gas += await ledger.eth.estimate_gas(fund, me)
    quote = DisputeQuote(
        bond=call.bond,
        at_panel=at_panel,
        free=free,
        gas_wei=gas * head.base_fee,
        for_gas=await ledger.eth.balance(me),
        until=until,
        now=head.timestamp,
    )
    if quote.moves > free:
        missing = quote.moves - free
        raise ChainOrFunds(
            "there is not enough for the bond",
            why=f"it takes {quote.moves} wei of free balance, {free} are there",
            fix=f"mesh wallet deposit {-(-missing // 10**18)}",
        )
    return quote


async def open_dispute(ledger: Ledger, call: OpenDispute) -> tuple[Confirmed, DisputeStatus]:
    """Bring the bond to the panel, and open. Called again after an interruption it goes on where it stopped.

    Raises ``ChainOrFunds`` when either is refused; a bond that was brought stays in the owner's account at the panel.
    """
    if not await ledger.submitter.knows(call.key):
        fund = await ledger.posting.fund_call(call.bond)
        if fund is not None:
            _confirmed("the bond", await ledger.submitter.submit(call.key + FUND, fund))
            await ledger.submitter.release(call.key + FUND)
    outcome = await ledger.submitter.submit(call.key, await ledger.posting.panel_call(call))
    await ledger.submitter.release(call.key)
    done = _confirmed("the dispute", outcome)
    return done, await PanelContract(ledger.rpc, ledger.params.panel).status(call.deal_id)


async def _gas(ledger: Ledger, call: OpenDispute) -> int:
    estimate = await ledger.submitter.quote(await ledger.posting.panel_call(call))
    return max(estimate.gas - LAST_OF_PHASE_GAS, 0)


def _confirmed(what: str, outcome: Outcome) -> Confirmed:
    if isinstance(outcome, Confirmed):
        return outcome
    why = str(outcome.reason) if isinstance(outcome, Reverted) else "another program sends with this node's key"
    raise ChainOrFunds(f"{what} was refused", why=why, fix="mesh deal verify FILE   (is the file about this network?)")
