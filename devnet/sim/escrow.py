"""What does the simulated chain do with the escrow's calls? The rules of ``MeshEscrow``, in Python, on integers.

``tests/contracts`` holds the Solidity contract to the same rules; here they judge thousands of simulated deals a second.
"""

from typing import Final

import msgspec

from protocols.deals import eip712
from protocols.deals.eip712 import Deal, Domain, EscrowBounds, OnChainState
from protocols.effects import PostTx
from protocols.errors import RemoteProtocolError
from protocols.signing import Signer
from protocols.units import Address, DealId, PeerId, Signature, Tokens, UnixSeconds

__all__ = ["Entry", "Escrow", "Moved", "Reverted"]

FEE_DIVISOR: Final = 100
"""One percent of every price that is paid is burned."""


class Reverted(Exception):
    """The call changed nothing; the text is the contract's error."""


class Moved(msgspec.Struct, frozen=True):
    """The event a successful call logs."""

    deal_id: DealId
    to: str
    paid: Tokens


class Entry:
    """One deal's slot."""

    __slots__ = ("deal", "since", "state")

    def __init__(self, deal: Deal, state: OnChainState, since: UnixSeconds) -> None:
        self.deal = deal
        self.state = state
        self.since = since


class Escrow:
    """Accounts and deals. ``free`` is spendable, ``stake`` is a provider's unlocked collateral."""

    def __init__(self, domain: Domain, token: Address, bounds: EscrowBounds, verifier: Signer) -> None:
        self._domain = domain
        self._token = token
        self._bounds = bounds
        self._verifier = verifier
        self.free: dict[Address, int] = {}
        self.stake: dict[Address, int] = {}
        self.slots: dict[tuple[Address, int, int], Entry] = {}
        self.burned = 0
        self.deposited = 0

    def fund(self, who: Address, *, free: int, stake: int) -> None:
        """A deposit and a stake."""
        self.free[who] = self.free.get(who, 0) + free
        self.stake[who] = self.stake.get(who, 0) + stake
        self.deposited += free + stake

    def locked(self) -> int:
        """Price and collateral of every deal that is not final."""
        held = (OnChainState.COMMITTED, OnChainState.CLAIMED)
        return sum(e.deal.price + e.deal.collateral for e in self.slots.values() if e.state in held)

    def total(self) -> int:
        """Everything the escrow accounts for; always equal to ``deposited``."""
        return sum(self.free.values()) + sum(self.stake.values()) + self.locked() + self.burned

    def call(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        """Carry out one call. Raises ``Reverted``."""
        match tx.purpose:
            case "commit":
                return self._commit(sender, tx, now, names)
            case "burn":
                return self._burn(sender, tx)
            case _:
                return self._later(sender, tx, now, names)

    def _key(self, deal: Deal) -> tuple[Address, int, int]:
        return deal.client, deal.run_nonce, deal.index

    def _signed(self, who: Address, value: eip712.SignedStruct, sig: Signature, names: dict[PeerId, Address]) -> None:
        try:
            signer = names.get(self._verifier.recover(eip712.digest(self._domain, value), sig))
        except RemoteProtocolError as error:
            raise Reverted("BadSignature") from error
        if signer != who:
            raise Reverted("BadSignature")

    def _commit(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        deal = tx.deal
        if sender != deal.provider:
            raise Reverted("NotProvider")
        try:
            eip712.check_terms(deal, self._bounds, token=self._token, now=now)
        except RemoteProtocolError as error:
            raise Reverted(f"BadTerms: {error}") from error
        if self._key(deal) in self.slots:
            raise Reverted("RunConsumed")
        self._signed(deal.client, deal, tx.signature, names)
        if self.free.get(deal.client, 0) < deal.price:
            raise Reverted("InsufficientFree")
        if self.stake.get(deal.provider, 0) < deal.collateral:
            raise Reverted("InsufficientStake")
        self.free[deal.client] -= deal.price
        self.stake[deal.provider] = self.stake.get(deal.provider, 0) - deal.collateral
        self.slots[self._key(deal)] = Entry(deal, OnChainState.COMMITTED, now)
        return Moved(tx.deal_id, "committed", Tokens(0))

    def _burn(self, sender: Address, tx: PostTx) -> Moved:
        if sender != tx.deal.client:
            raise Reverted("NotClient")
        if self._key(tx.deal) in self.slots:
            raise Reverted("RunConsumed")
        self.slots[self._key(tx.deal)] = Entry(tx.deal, OnChainState.BURNED, UnixSeconds(0))
        return Moved(tx.deal_id, "burned", Tokens(0))

    def _later(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        deal = tx.deal
        entry = self.slots.get(self._key(deal))
        if entry is None or entry.deal != deal:
            raise Reverted("UnknownDeal")
        open_states = (OnChainState.COMMITTED, OnChainState.CLAIMED)
        claim_by = entry.since + deal.exec_seconds + deal.claim_seconds
        match tx.purpose:
            case "settle" if sender == deal.provider and entry.state in open_states:
                consent = eip712.Settlement(deal_id=tx.deal_id, paid=tx.amount)
                self._signed(deal.client, consent, tx.signature, names)
                return self._pay(entry, tx, tx.amount, "settled", OnChainState.SETTLED)
            case "cancel" if entry.state is OnChainState.COMMITTED and sender in (deal.client, deal.provider):
                other = deal.client if sender == deal.provider else deal.provider
                cancellation = eip712.Cancellation(deal_id=tx.deal_id, paid=tx.amount)
                self._signed(other, cancellation, tx.signature, names)
                return self._pay(entry, tx, tx.amount, "cancelled", OnChainState.CANCELLED)
            case "claim" if sender == deal.provider and entry.state is OnChainState.COMMITTED and now <= claim_by:
                entry.state, entry.since = OnChainState.CLAIMED, now
                return Moved(tx.deal_id, "claimed", Tokens(0))
            case "finalize" if entry.state is OnChainState.CLAIMED and now > entry.since + deal.window_seconds:
                return self._pay(entry, tx, deal.price, "finalized", OnChainState.SETTLED)
            case "expire" if entry.state is OnChainState.COMMITTED and now > claim_by:
                return self._expire(entry, tx)
            case _:
                raise Reverted(f"WrongState: {tx.purpose} of a deal that is {entry.state.name}")

    def _pay(self, entry: Entry, tx: PostTx, paid: Tokens, to: str, state: OnChainState) -> Moved:
        deal = entry.deal
        if paid > deal.price:
            raise Reverted("PaidAbovePrice")
        fee = paid // FEE_DIVISOR
        self.free[deal.provider] = self.free.get(deal.provider, 0) + paid - fee
        self.free[deal.client] += deal.price - paid
        self.stake[deal.provider] += deal.collateral
        self.burned += fee
        entry.state = state
        return Moved(tx.deal_id, to, paid)

    def _expire(self, entry: Entry, tx: PostTx) -> Moved:
        deal = entry.deal
        penalty = min(deal.price, deal.collateral)
        to_client = penalty // 2
        self.free[deal.client] += deal.price + to_client
        self.stake[deal.provider] += deal.collateral - penalty
        self.burned += penalty - to_client
        entry.state = OnChainState.EXPIRED
        return Moved(tx.deal_id, "expired", Tokens(0))

