"""What should the escrow know? The page of Python that the contract is compared with: every balance, deal and channel."""

from dataclasses import dataclass, field

from protocols.contracts.channels import Channel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import OnChainState
from protocols.units import ZERO_HASH, Address, Hash32

__all__ = ["OPEN", "Books", "Held", "Pair"]

OPEN = (OnChainState.COMMITTED, OnChainState.CLAIMED, OnChainState.DISPUTED)


@dataclass
class Held:
    """A deal as the model knows it."""

    lock: Lock
    state: OnChainState
    since: int
    result: Hash32 = ZERO_HASH


@dataclass
class Pair:
    """A channel as the model knows it."""

    channel: Channel
    until: int
    deposit: int
    redeemed: int = 0

    def held(self) -> int:
        """What was not redeemed, and the fee of what was, until the close burns it."""
        return self.deposit - self.redeemed + self.redeemed // 100 if self.until else 0


@dataclass
class Books:
    """Everything the escrow should know."""

    free: dict[Address, int]
    stake: dict[Address, int]
    leaving: dict[tuple[Address, str], tuple[int, int]] = field(default_factory=dict)
    owners: dict[Address, Address] = field(default_factory=dict)
    deals: dict[tuple[Address, int], Held] = field(default_factory=dict)
    pairs: dict[tuple[Address, Address, Address], Pair] = field(default_factory=dict)
    burnable: int = 0
    seats: int = 0
    """Tokens that verdicts have sent to the panel."""

    def owner(self, operator: Address) -> Address:
        return self.owners.get(operator, operator)

    def locked(self) -> int:
        return sum(held.lock.price + held.lock.collateral for held in self.deals.values() if held.state in OPEN)

    def total(self) -> int:
        outgoing = sum(amount for amount, _ in self.leaving.values())
        channels = sum(pair.held() for pair in self.pairs.values())
        return sum(self.free.values()) + sum(self.stake.values()) + outgoing + self.locked() + channels + self.burnable

    def pay(self, held: Held, paid: int, state: OnChainState) -> None:
        lock, fee = held.lock, paid // 100
        self.free[lock.client_owner] += lock.price - paid
        self.free[lock.provider_owner] += paid - fee
        self.stake[lock.provider_owner] += lock.collateral
        self.burnable += fee
        held.state = state

    def expire(self, held: Held) -> None:
        lock = held.lock
        penalty = min(lock.price, lock.collateral)
        self.free[lock.client_owner] += lock.price + penalty // 2
        self.stake[lock.provider_owner] += lock.collateral - penalty
        self.burnable += penalty - penalty // 2
        held.state = OnChainState.EXPIRED

    def slash(self, held: Held) -> None:
        lock = held.lock
        bounty = min(2 * lock.price, lock.collateral // 2)
        self.free[lock.client_owner] += lock.price + bounty
        self.burnable += lock.collateral - bounty
        held.state = OnChainState.SLASHED

    def divide(self, held: Held, end: OnChainState, payout: tuple[int, ...]) -> None:
        lock, fee = held.lock, payout[1] // 100
        self.free[lock.client_owner] += payout[0]
        self.free[lock.provider_owner] += payout[1] - fee
        self.stake[lock.provider_owner] += payout[2]
        self.seats += payout[3]
        self.burnable += payout[4] + fee
        held.state = end

    def redeem(self, pair: Pair, cumulative: int) -> None:
        paid = (cumulative - cumulative // 100) - (pair.redeemed - pair.redeemed // 100)
        self.free[self.owner(pair.channel.provider)] += paid
        pair.redeemed = cumulative

    def close(self, pair: Pair) -> None:
        self.free[pair.channel.client_owner] += pair.deposit - pair.redeemed
        self.burnable += pair.redeemed // 100
        pair.until = 0
