"""What does the simulated chain do with the escrow's calls? The rules of ``MeshEscrow``, in Python, on integers.

Checks come in the contract's order and fail with the contract's errors: ``tests/sim/test_escrow_parity.py`` runs both on
the same calls. Every successful call can be undone, which is what a reorganisation does. Owners are operators here.
"""

from typing import Final

import msgspec

from protocols.deals import eip712
from protocols.deals.eip712 import Deal, Domain, EscrowBounds, OnChainState
from protocols.disputes.payouts import Payout
from protocols.effects import PostTx
from protocols.errors import RemoteProtocolError
from protocols.signing import Signer
from protocols.units import ZERO_HASH, Address, DealId, Hash32, PeerId, Signature, Tokens, UnixSeconds

__all__ = ["Entry", "Escrow", "Moved", "Reverted", "Undo"]

FEE_DIVISOR: Final = 100
"""One percent of every price that is paid is burned."""
_OPEN: Final = (OnChainState.COMMITTED, OnChainState.CLAIMED)
_HELD: Final = (*_OPEN, OnChainState.DISPUTED)
DISPUTE_LIMIT_S: Final = 365 * 86_400
"""After so long anybody may void a dispute that the panel has not ended."""
Key = tuple[Address, int, int]


class Reverted(Exception):
    """The call changed nothing; the text is the contract's error."""


class Moved(msgspec.Struct, frozen=True):
    """The event a successful call logs."""

    deal: Deal
    deal_id: DealId
    to: str
    paid: Tokens
    result_hash: Hash32 = ZERO_HASH
    refund: Tokens = Tokens(0)
    """What the end of a dispute brings the client."""
    returned: Tokens = Tokens(0)
    """What it leaves of the collateral."""


class Entry(msgspec.Struct, frozen=True):
    """One deal's slot."""

    deal: Deal
    state: OnChainState
    since: UnixSeconds
    result_hash: Hash32 = ZERO_HASH


class Undo(msgspec.Struct, frozen=True):
    """What one call found: put back, it never happened."""

    key: Key | None
    entry: Entry | None
    balances: tuple[tuple[str, Address, int | None], ...]
    burned: int


class Escrow:
    """Accounts and deals. ``free`` is spendable, ``stake`` is a provider's unlocked collateral."""

    def __init__(
        self, domain: Domain, token: Address, bounds: EscrowBounds, verifier: Signer, *, panel: bool = False
    ) -> None:
        """``panel``: whether there is one; without, a deal that names it is refused."""
        self.domain = domain
        self._panel = panel
        self._token = token
        self._bounds = bounds
        self._verifier = verifier
        self.free: dict[Address, int] = {}
        self.stake: dict[Address, int] = {}
        self.slots: dict[Key, Entry] = {}
        self.burned = 0
        self.deposited = 0

    def fund(self, who: Address, *, free: int, stake: int) -> None:
        """A deposit and a stake."""
        self.free[who] = self.free.get(who, 0) + free
        self.stake[who] = self.stake.get(who, 0) + stake
        self.deposited += free + stake

    def locked(self) -> int:
        """Price and collateral of every deal that is not final."""
        return sum(e.deal.price + e.deal.collateral for e in self.slots.values() if e.state in _HELD)

    def total(self) -> int:
        """Everything the escrow accounts for; equal to ``deposited`` but for what went to the panel and the channels."""
        return sum(self.free.values()) + sum(self.stake.values()) + self.locked() + self.burned

    def entry(self, deal: Deal) -> Entry | None:
        """The slot of exactly this deal; None when it was never committed, or another one took its place."""
        found = self.slots.get(_key(deal))
        return found if found is not None and found.deal == deal else None

    def before(self, tx: PostTx) -> Undo:
        """Everything this call could change, as it is now."""
        return self.remember(tx.deal)

    def remember(self, deal: Deal | None, *others: Address) -> Undo:
        """A deal's slot, its parties' balances and those of ``others``, as they are now."""
        key = _key(deal) if deal else None
        parties = (deal.client, deal.provider) if deal else ()
        balances = [
            (name, who, book.get(who))
            for name, book in (("free", self.free), ("stake", self.stake))
            for who in (*parties, *others)
        ]
        return Undo(key, self.slots.get(key) if key else None, tuple(balances), self.burned)

    def undo(self, was: Undo) -> None:
        """Put it back. In the reverse order of the calls."""
        if was.key is not None and was.entry is None:
            self.slots.pop(was.key, None)
        elif was.key is not None and was.entry is not None:
            self.slots[was.key] = was.entry
        for name, who, amount in was.balances:
            book = self.free if name == "free" else self.stake
            if amount is None:
                book.pop(who, None)
            else:
                book[who] = amount
        self.burned = was.burned

    def call(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        """Carry out one call. Raises ``Reverted``, and then nothing has changed."""
        match tx.purpose:
            case "commit":
                return self._commit(sender, tx, now, names)
            case "burn":
                return self._burn(sender, tx, now)
            case "settle":
                return self._settle(sender, tx, now, names)
            case "cancel":
                return self._cancel(sender, tx, now, names)
            case "claim":
                return self._claim(sender, tx, now)
            case "finalize":
                return self._finalize(tx, now)
            case "expire":
                return self._expire(tx, now)
            case "void":
                return self._void(tx, now)
            case _:
                raise Reverted("")

    def signed(self, who: Address, value: eip712.SignedStruct, sig: Signature, names: dict[PeerId, Address]) -> None:
        """Raises ``Reverted`` unless ``who`` has signed this."""
        try:
            signer = names.get(self._verifier.recover(eip712.digest(self.domain, value), sig))
        except RemoteProtocolError as error:
            raise Reverted("BadSignature") from error
        if signer != who:
            raise Reverted("BadSignature")

    def _commit(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        deal = tx.deal
        if sender != deal.provider:
            raise Reverted("NotProvider")
        try:
            eip712.check_terms(deal, self._bounds, token=self._token, now=now, panel=self._panel)
        except RemoteProtocolError as error:
            raise Reverted("BadTerm") from error
        self.signed(deal.client, deal, tx.signature, names)
        self._consume(deal, OnChainState.COMMITTED, now)
        if self.free.get(deal.client, 0) < deal.price:
            del self.slots[_key(deal)]
            raise Reverted("InsufficientFree")
        if self.stake.get(deal.provider, 0) < deal.collateral:
            del self.slots[_key(deal)]
            raise Reverted("InsufficientStake")
        self.free[deal.client] -= deal.price
        self.stake[deal.provider] = self.stake.get(deal.provider, 0) - deal.collateral
        return Moved(tx.deal, tx.deal_id, "committed", Tokens(0))

    def _consume(self, deal: Deal, state: OnChainState, now: UnixSeconds) -> None:
        """Use (client, run nonce, index), once and for good."""
        if _key(deal) in self.slots:
            raise Reverted("AlreadyConsumed")
        self.slots[_key(deal)] = Entry(deal, state, now)

    def _burn(self, sender: Address, tx: PostTx, now: UnixSeconds) -> Moved:
        if sender != tx.deal.client:
            raise Reverted("NotClient")
        self._consume(tx.deal, OnChainState.BURNED, now)
        return Moved(tx.deal, tx.deal_id, "burned", Tokens(0))

    def _open(self, tx: PostTx, result_hash: Hash32) -> Entry:
        """The slot, if it is this deal's and the caller knows what was claimed."""
        entry = self.entry(tx.deal)
        if entry is None or entry.state is OnChainState.BURNED or entry.result_hash != result_hash:
            raise Reverted("UnknownDeal")
        return entry

    def _settle(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        deal = tx.deal
        if sender != deal.provider:
            raise Reverted("NotProvider")
        entry = self._open(tx, tx.result_hash)
        if entry.state not in _OPEN:
            raise Reverted("WrongState")
        self.signed(deal.client, eip712.Settlement(deal_id=tx.deal_id, paid=tx.amount), tx.signature, names)
        return self._pay(entry, tx, tx.amount, "settled", OnChainState.SETTLED, now)

    def _cancel(self, sender: Address, tx: PostTx, now: UnixSeconds, names: dict[PeerId, Address]) -> Moved:
        deal = tx.deal
        if sender not in (deal.client, deal.provider):
            raise Reverted("NotParty")
        entry = self._open(tx, ZERO_HASH)
        if entry.state is not OnChainState.COMMITTED:
            raise Reverted("WrongState")
        other = deal.client if sender == deal.provider else deal.provider
        self.signed(other, eip712.Cancellation(deal_id=tx.deal_id, paid=tx.amount), tx.signature, names)
        return self._pay(entry, tx, tx.amount, "cancelled", OnChainState.CANCELLED, now)

    def _claim(self, sender: Address, tx: PostTx, now: UnixSeconds) -> Moved:
        if sender != tx.deal.provider:
            raise Reverted("NotProvider")
        if tx.result_hash == ZERO_HASH:
            raise Reverted("ZeroResult")
        entry = self._open(tx, ZERO_HASH)
        if entry.state is not OnChainState.COMMITTED:
            raise Reverted("WrongState")
        if now > entry.since + tx.deal.exec_seconds + tx.deal.claim_seconds:
            raise Reverted("ClaimTooLate")
        self.slots[_key(tx.deal)] = Entry(tx.deal, OnChainState.CLAIMED, now, tx.result_hash)
        return Moved(tx.deal, tx.deal_id, "claimed", Tokens(0), tx.result_hash)

    def _finalize(self, tx: PostTx, now: UnixSeconds) -> Moved:
        entry = self._open(tx, tx.result_hash)
        if entry.state is not OnChainState.CLAIMED:
            raise Reverted("WrongState")
        if now <= entry.since + tx.deal.window_seconds:
            raise Reverted("TooEarly")
        return self._pay(entry, tx, tx.deal.price, "finalized", OnChainState.SETTLED, now)

    def _expire(self, tx: PostTx, now: UnixSeconds) -> Moved:
        entry = self._open(tx, ZERO_HASH)
        if entry.state is not OnChainState.COMMITTED:
            raise Reverted("WrongState")
        deal = entry.deal
        if now <= entry.since + deal.exec_seconds + deal.claim_seconds:
            raise Reverted("TooEarly")
        penalty = min(deal.price, deal.collateral)
        to_client = penalty // 2
        self.free[deal.client] += deal.price + to_client
        self.stake[deal.provider] += deal.collateral - penalty
        self.burned += penalty - to_client
        self.slots[_key(deal)] = Entry(deal, OnChainState.EXPIRED, now)
        return Moved(tx.deal, tx.deal_id, "expired", Tokens(0))

    # --- for the panel -----------------------------------------------------------------------------------------------

    def take_free(self, owner: Address, amount: int) -> None:
        """To the panel. Raises ``Reverted``."""
        if self.free.get(owner, 0) < amount:
            raise Reverted("InsufficientFree")
        self.free[owner] -= amount

    def give_free(self, owner: Address, amount: int) -> None:
        """Back from the panel."""
        self.free[owner] = self.free.get(owner, 0) + amount

    def open_dispute(self, deal: Deal, result_hash: Hash32, now: UnixSeconds) -> OnChainState:
        """The deal is the panel's; what it was. Raises ``Reverted``, and then nothing has changed."""
        if result_hash == ZERO_HASH:
            raise Reverted("ZeroResult")
        entry = self.entry(deal)
        if entry is None or entry.state is OnChainState.BURNED or entry.result_hash not in (ZERO_HASH, result_hash):
            raise Reverted("UnknownDeal")
        claimed = entry.result_hash == result_hash
        if entry.state is not (OnChainState.CLAIMED if claimed else OnChainState.COMMITTED):
            raise Reverted("WrongState")
        if claimed and now > entry.since + deal.window_seconds:
            raise Reverted("TooLate")
        self.slots[_key(deal)] = Entry(deal, OnChainState.DISPUTED, now, result_hash)
        return entry.state

    def close_dispute(self, deal: Deal, end: OnChainState, payout: Payout, now: UnixSeconds) -> int:
        """Divide price and collateral, for good; what is burned of them, the fee among it. Raises ``Reverted``."""
        entry = self.entry(deal)
        if entry is None or entry.state is not OnChainState.DISPUTED:
            raise Reverted("WrongState")
        divided = payout.to_client + payout.to_provider + payout.to_stake + payout.to_panel + payout.burned
        if divided != deal.price + deal.collateral:
            raise Reverted("Unbalanced")
        fee = payout.to_provider // FEE_DIVISOR
        self.give_free(deal.client, payout.to_client)
        self.give_free(deal.provider, payout.to_provider - fee)
        self.stake[deal.provider] = self.stake.get(deal.provider, 0) + payout.to_stake
        self.burned += payout.burned + fee
        self.slots[_key(deal)] = Entry(deal, end, now, entry.result_hash)
        return payout.burned + fee

    def _void(self, tx: PostTx, now: UnixSeconds) -> Moved:
        """Nobody has ended a dispute in a year: both have their own back."""
        entry, deal = self._open(tx, tx.result_hash), tx.deal
        if entry.state is not OnChainState.DISPUTED:
            raise Reverted("WrongState")
        if now <= entry.since + DISPUTE_LIMIT_S:
            raise Reverted("TooEarly")
        self.close_dispute(deal, OnChainState.VOID, Payout(to_client=deal.price, to_stake=deal.collateral), now)
        return Moved(tx.deal, tx.deal_id, "void", Tokens(0), refund=deal.price, returned=deal.collateral)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _pay(self, entry: Entry, tx: PostTx, paid: Tokens, to: str, state: OnChainState, now: UnixSeconds) -> Moved:
        deal = entry.deal
        if paid > deal.price:
            raise Reverted("Overpaid")
        fee = paid // FEE_DIVISOR
        self.free[deal.provider] = self.free.get(deal.provider, 0) + paid - fee
        self.free[deal.client] += deal.price - paid
        self.stake[deal.provider] += deal.collateral
        self.burned += fee
        self.slots[_key(deal)] = Entry(deal, state, now, entry.result_hash)
        return Moved(tx.deal, tx.deal_id, to, paid)


def _key(deal: Deal) -> Key:
    return deal.client, deal.run_nonce, deal.index
