"""Who moves money in the books, and is every balance right after every step? Three parties, their accounts, and the end.

A machine adds the rules of deals and channels to these (test_conservation.py).
"""

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocols.contracts import calls, channels
from protocols.contracts.channels import ChannelWord
from protocols.deals.eip712 import OperatorConsent
from tests.contracts.books import OPEN, Books

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Key, World

__all__ = ["YEAR", "Parties", "some", "who"]

YEAR = 365 * 86_400
PARTIES = 3
who = st.integers(0, PARTIES - 1)
some = st.integers(0, 3_000)


class Parties(RuleBasedStateMachine):
    """Three parties, each client, provider and owner as it likes; a stranger; hostile order."""

    make_world: "Callable[..., World]"

    def __init__(self) -> None:
        super().__init__()
        self.sound = True
        self.world = world = self.make_world()
        self.keys: list[Key] = [world.client, world.provider, world.owner]
        for key in self.keys:
            world.call(key, "deposit", 10_000)
            world.call(key, "stake", 5_000)
        self.books = Books(
            free={key.address: 5_000 for key in self.keys}, stake={key.address: 5_000 for key in self.keys}
        )
        self.panel_had = world.tokens(world.panel.address)

    def attempt(self, expected: str | None, act: "Callable[[], object]") -> bool:
        self.sound = False
        if expected is None:
            act()
        else:
            self.world.refused(expected, act)
        return expected is None

    # --- accounts ----------------------------------------------------------------------------------------------------

    @rule(i=who, amount=some)
    def deposit(self, i: int, amount: int) -> None:
        key = self.keys[i]
        if self.attempt(None if amount else "ZeroAmount", lambda: self.world.call(key, "deposit", amount)):
            self.books.free[self.books.owner(key.address)] += amount

    @rule(i=who, amount=some)
    def stake(self, i: int, amount: int) -> None:
        key, free = self.keys[i], self.books.free
        expected = "ZeroAmount" if not amount else "InsufficientFree" if free[key.address] < amount else None
        if self.attempt(expected, lambda: self.world.call(key, "stake", amount)):
            free[key.address] -= amount
            self.books.stake[key.address] += amount

    @rule(i=who, amount=some, staked=st.booleans())
    def request(self, i: int, amount: int, staked: bool) -> None:
        key = self.keys[i]
        held = self.books.stake if staked else self.books.free
        missing = "InsufficientStake" if staked else "InsufficientFree"
        name, delay = ("requestUnstake", 4) if staked else ("requestWithdraw", 2)
        expected = "ZeroAmount" if not amount else missing if held[key.address] < amount else None
        if self.attempt(expected, lambda: self.world.call(key, name, amount)):
            held[key.address] -= amount
            before, _ = self.books.leaving.get((key.address, name), (0, 0))
            self.books.leaving[key.address, name] = (before + amount, self.world.now + delay)

    @rule(i=who, staked=st.booleans())
    def leave(self, i: int, staked: bool) -> None:
        key = self.keys[i]
        asked, name = ("requestUnstake", "unstake") if staked else ("requestWithdraw", "withdraw")
        amount, ready = self.books.leaving.get((key.address, asked), (0, 0))
        expected = "NothingRequested" if not amount else "NotReady" if self.world.now < ready else None
        if self.attempt(expected, lambda: self.world.call(key, name)):
            del self.books.leaving[key.address, asked]

    @rule()
    def burn_fees(self) -> None:
        expected = None if self.books.burnable else "ZeroAmount"
        if self.attempt(expected, lambda: self.world.call(self.world.stranger, "burnFees")):
            self.books.burnable = 0

    @rule(i=who, j=who, forged=st.booleans())
    def adopt(self, i: int, j: int, forged: bool) -> None:
        owner, operator = self.keys[i], self.keys[j]
        nonce = self.world.read("consentNonce", operator.hex)
        signer = self.world.stranger if forged else operator
        consent = self.world.signed(signer, OperatorConsent(owner.address, operator.address, nonce))
        data = calls.set_operator(operator.address, consent)
        if self.attempt("BadSignature" if forged else None, lambda: self.world.send(owner, data)):
            self.books.owners[operator.address] = owner.address

    @rule(i=who, j=who)
    def part(self, i: int, j: int) -> None:
        caller, operator = self.keys[i], self.keys[j]
        owner = self.books.owners.get(operator.address)
        may = owner is not None and caller.address in (owner, operator.address)
        act = lambda: self.world.call(caller, "removeOperator", operator.hex)  # noqa: E731
        if self.attempt(None if may else "NotOwnerNorOperator", act):
            del self.books.owners[operator.address]

    @rule(seconds=st.sampled_from([1, 3, 70, 200, YEAR + 1]))
    def time_passes(self, seconds: int) -> None:
        self.world.warp(seconds)

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def the_books_agree_and_money_is_conserved(self) -> None:
        for key in self.keys:
            mine = (self.books.free[key.address], self.books.stake[key.address])
            assert self.world.read("accountOf", key.hex) == mine
            assert self.books.owner(key.address) == self.world.read("ownerOf", key.hex)
        assert self.world.read("burnable") == self.books.burnable
        for held in self.books.deals.values():
            assert self.world.state(held.lock) is held.state
        for pair in self.books.pairs.values():
            found = self.world.channel(pair.channel)
            assert found == ChannelWord(pair.until, pair.channel.generation, pair.deposit, pair.redeemed)  # type: ignore[arg-type]
        assert self.books.total() == self.world.tokens(self.world.escrow)
        assert self.world.tokens(self.world.panel.address) == self.panel_had + self.books.seats
        self.sound = True

    def teardown(self) -> None:
        """Anyone and time end every deal and channel, and then every owner gets out all it has."""
        if not self.sound:
            return  # a step has failed already: one defect, one report
        world, books = self.world, self.books
        world.warp(YEAR + 10**6)
        for held in books.deals.values():
            if held.state in OPEN:
                world.send(world.stranger, calls.poke(held.lock, held.result))
                assert world.state(held.lock) not in OPEN
        for pair in books.pairs.values():
            if pair.until:
                world.send(world.stranger, channels.close(pair.channel))
        for key in self.keys:
            for request, amount in (("requestWithdraw", world.free(key)), ("requestUnstake", world.stake(key))):
                if amount:
                    world.call(key, request, amount)
        world.warp(10)
        for key in self.keys:
            exits: Any = world.read("exitsOf", key.hex)
            for name, amount in (("withdraw", exits[0]), ("unstake", exits[2])):
                if amount:
                    world.call(key, name)
        assert world.tokens(world.escrow) == world.read("burnable")
