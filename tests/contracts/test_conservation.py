"""Whatever anybody does in whatever order: does the contract keep the books that a page of Python keeps?

The model is that page. After every step each balance, each deal's state and the sum of everything are compared; a call
that the model refuses must revert with the error it names. In the end a stranger and time alone end every deal, and
every owner gets all its money out.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from protocols.contracts import calls
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Cancellation, Deal, OnChainState, OperatorConsent, Settlement, deal_id
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Key, World

OPEN = (OnChainState.COMMITTED, OnChainState.CLAIMED)
PARTIES = 3
RESULTS = (keccak256(b"one"), keccak256(b"other"))
who = st.integers(0, PARTIES - 1)
some = st.integers(0, 3_000)


@dataclass
class Held:
    """A deal as the model knows it."""

    lock: Lock
    state: OnChainState
    since: int
    result: Hash32 = ZERO_HASH


@dataclass
class Books:
    """Everything the escrow should know."""

    free: dict[Address, int]
    stake: dict[Address, int]
    leaving: dict[tuple[Address, str], tuple[int, int]] = field(default_factory=dict)
    owners: dict[Address, Address] = field(default_factory=dict)
    deals: dict[tuple[Address, int], Held] = field(default_factory=dict)
    burnable: int = 0

    def owner(self, operator: Address) -> Address:
        return self.owners.get(operator, operator)

    def locked(self) -> int:
        return sum(held.lock.price + held.lock.collateral for held in self.deals.values() if held.state in OPEN)

    def total(self) -> int:
        outgoing = sum(amount for amount, _ in self.leaving.values())
        return sum(self.free.values()) + sum(self.stake.values()) + outgoing + self.locked() + self.burnable

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


class Machine(RuleBasedStateMachine):
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

    @rule(seconds=st.sampled_from([1, 3, 70, 200]))
    def time_passes(self, seconds: int) -> None:
        self.world.warp(seconds)

    # --- deals -------------------------------------------------------------------------------------------------------

    @rule(i=who, j=who, nonce=st.integers(0, 12), price=st.integers(1, 3_000), collateral=some, forged=st.booleans())
    def commit(self, i: int, j: int, nonce: int, price: int, collateral: int, forged: bool) -> None:
        client, provider, books = self.keys[i], self.keys[j], self.books
        deal = self.world.deal(
            client=client.address,
            provider=provider.address,
            run_nonce=nonce,
            price=Tokens(price),
            collateral=Tokens(collateral),
        )
        signer = self.world.stranger if forged else client
        data = calls.commit(deal, signer.sign(deal_id(self.world.domain, deal)))
        if self.attempt(self._commit_error(deal, forged), lambda: self.world.send(provider, data)):
            owners = books.owner(client.address), books.owner(provider.address)
            lock = Lock.of(self.world.domain, deal, client_owner=owners[0], provider_owner=owners[1])
            books.free[owners[0]] -= price
            books.stake[owners[1]] -= collateral
            books.deals[client.address, nonce] = Held(lock, OnChainState.COMMITTED, self.world.now)

    def _commit_error(self, deal: Deal, forged: bool) -> str | None:
        client, provider = self.books.owner(deal.client), self.books.owner(deal.provider)
        checks = {
            "BadTerm": deal.client == deal.provider or deal.collateral > 100 * deal.price,
            "BadSignature": forged,
            "SelfDeal": client == provider,
            "AlreadyConsumed": (deal.client, deal.run_nonce) in self.books.deals,
            "InsufficientFree": self.books.free[client] < deal.price,
            "InsufficientStake": self.books.stake[provider] < deal.collateral,
        }
        return next((name for name, fails in checks.items() if fails), None)

    @rule(i=who, nonce=st.integers(0, 12))
    def burn_run(self, i: int, nonce: int) -> None:
        key = self.keys[i]
        expected = "AlreadyConsumed" if (key.address, nonce) in self.books.deals else None
        if self.attempt(expected, lambda: self.world.send(key, calls.burn_run(nonce, 0))):
            lock = self.world.lock_of(self.world.deal(client=key.address, run_nonce=nonce))
            self.books.deals[key.address, nonce] = Held(lock, OnChainState.BURNED, self.world.now)

    def pick(self, data: st.DataObject) -> tuple[Held, str | None]:
        """A deal, and the error that any call about it gets for its state alone."""
        held = self.books.deals[data.draw(st.sampled_from(sorted(self.books.deals)), label="deal")]
        if held.state is OnChainState.BURNED:
            return held, "UnknownDeal"
        return held, None if held.state in OPEN else "WrongState"

    def key_of(self, address: Address) -> "Key":
        return next(key for key in self.keys if key.address == address)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), paid=some, forged=st.booleans())
    def settle(self, data: st.DataObject, paid: int, forged: bool) -> None:
        held, expected = self.pick(data)
        lock = held.lock
        signer = self.key_of(lock.provider if forged else lock.client)
        consent = self.world.signed(signer, Settlement(lock.deal_id, Tokens(paid)))
        call = calls.settle(lock, Tokens(paid), consent, result_hash=held.result)
        expected = expected or ("BadSignature" if forged else "Overpaid" if paid > lock.price else None)
        if self.attempt(expected, lambda: self.world.send(self.key_of(lock.provider), call)):
            self.books.pay(held, paid, OnChainState.SETTLED)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), paid=some, by_client=st.booleans())
    def cancel(self, data: st.DataObject, paid: int, by_client: bool) -> None:
        held, expected = self.pick(data)
        lock = held.lock
        sender, other = (lock.client, lock.provider) if by_client else (lock.provider, lock.client)
        consent = self.world.signed(self.key_of(other), Cancellation(lock.deal_id, Tokens(paid)))
        if held.result != ZERO_HASH:
            expected = "UnknownDeal"
        expected = expected or ("Overpaid" if paid > lock.price else None)
        call = calls.cancel(lock, Tokens(paid), consent)
        if self.attempt(expected, lambda: self.world.send(self.key_of(sender), call)):
            self.books.pay(held, paid, OnChainState.CANCELLED)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), result=st.sampled_from(RESULTS))
    def claim(self, data: st.DataObject, result: Hash32) -> None:
        held, expected = self.pick(data)
        if held.result != ZERO_HASH:
            expected = "UnknownDeal"
        late = self.world.now > held.since + held.lock.claim_within
        call = calls.claim(held.lock, result)
        sender = self.key_of(held.lock.provider)
        if self.attempt(expected or ("ClaimTooLate" if late else None), lambda: self.world.send(sender, call)):
            held.state, held.since, held.result = OnChainState.CLAIMED, self.world.now, result

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data())
    def poke(self, data: st.DataObject) -> None:
        held, expected = self.pick(data)
        claimed = held.state is OnChainState.CLAIMED
        wait = held.lock.window_seconds if claimed else held.lock.claim_within
        expected = expected or ("TooEarly" if self.world.now <= held.since + wait else None)
        call = calls.poke(held.lock, held.result)
        if self.attempt(expected, lambda: self.world.send(self.world.stranger, call)):
            if claimed:
                self.books.pay(held, held.lock.price, OnChainState.SETTLED)
            else:
                self.books.expire(held)

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
        assert self.books.total() == self.world.tokens(self.world.escrow)
        self.sound = True

    def teardown(self) -> None:
        """Anyone and time end every deal, and then every owner gets out all it has."""
        if not self.sound:
            return  # a step has failed already: one defect, one report
        world, books = self.world, self.books
        world.warp(10**6)
        for held in books.deals.values():
            if held.state in OPEN:
                world.send(world.stranger, calls.poke(held.lock, held.result))
                assert world.state(held.lock) not in OPEN
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


def test_the_contract_keeps_the_same_books_as_the_model(make_world: "Callable[..., World]") -> None:
    machine = type("Bound", (Machine,), {"make_world": staticmethod(make_world)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=settings().max_examples * 2 // 5,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
